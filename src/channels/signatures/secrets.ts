import { createPublicKey, createSecretKey, type KeyObject } from "node:crypto";
import type { Proof, Scheme, SecretForm } from "./scheme.ts";

const whsec = "whsec_";
const whpk = "whpk_";
/** A public key of ed25519 in DER is this, and its 32 bytes. */
const derPrefix = Buffer.from("302a300506032b6570032100", "hex");

/** To make a key of bytes takes several times as long as to sign a kilobyte with it, so a secret keeps its keys. */
const keysOf = new WeakMap<Buffer, Map<SecretForm, KeyObject | undefined>>();

/** A secret as the key of a signature; undefined if it is none of that form. */
export function keyOf({ secret: form }: Proof, secret: Buffer): KeyObject | undefined {
  const known = keysOf.get(secret) ?? new Map<SecretForm, KeyObject | undefined>();
  if (!known.has(form)) keysOf.set(secret, known.set(form, newKey(form, secret)));
  return known.get(form);
}

function newKey(form: SecretForm, secret: Buffer): KeyObject | undefined {
  const bytes = bytesOf(form, secret);
  // Anyone can sign with the empty key.
  if (bytes === undefined || bytes.length === 0) return undefined;
  if (!isPublic(form)) return createSecretKey(bytes);
  return createPublicKey({ key: Buffer.concat([derPrefix, bytes]), format: "der", type: "spki" });
}

/** Whether everybody may know it. */
export function isPublic(form: SecretForm): boolean {
  return form === "whpk" || form === "hex-key";
}

/** What is wrong with a secret for a scheme, in words that do not repeat it; undefined if it will do. */
export function secretProblem(scheme: Scheme, secret: Buffer): string | undefined {
  if (scheme.kind === "signature") {
    if (scheme.proofs.some((proof) => keyOf(proof, secret) !== undefined)) return undefined;
    return `give it as ${[...new Set(scheme.proofs.map(({ secret }) => inWords[secret]))].join(", or ")}`;
  }
  if (secret.length === 0) return "it must not be empty";
  if (scheme.kind === "basic" && !secret.includes(":")) return "give it as name:password";
  return undefined;
}

const inWords: Record<SecretForm, string> = {
  text: "a text that is not empty",
  whsec: "whsec_ and base64",
  whpk: "whpk_ and the base64 of the 32 bytes of a public key",
  "hex-key": "the 64 hexadecimal digits of a public key",
};

function bytesOf(form: SecretForm, secret: Buffer): Buffer | undefined {
  if (form === "text") return secret;
  const text = secret.toString("latin1");
  switch (form) {
    case "whsec":
      return exactly(text.startsWith(whsec) ? text.slice(whsec.length) : text, "base64");
    case "whpk":
      return text.startsWith(whpk) ? publicKeyBytes(text.slice(whpk.length), "base64") : undefined;
    case "hex-key":
      return publicKeyBytes(text.toLowerCase(), "hex");
  }
}

function publicKeyBytes(text: string, encoding: "hex" | "base64"): Buffer | undefined {
  const bytes = exactly(text, encoding);
  return bytes?.length === 32 ? bytes : undefined;
}

/** The bytes that are written so; undefined if they would be written in another way. */
export function exactly(text: string, encoding: "hex" | "base64" | "base64url"): Buffer | undefined {
  const bytes = Buffer.from(text, encoding);
  return bytes.toString(encoding) === text ? bytes : undefined;
}
