import { createHash, verify, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import type { Head } from "./verify-chain.ts";

/** A head that was signed: an anchor, or where what is kept of a record begins. */
export interface SignedHead extends Head {
  readonly at: Date;
  readonly keyId: string;
  readonly signature: Buffer;
}

/**
 * What a signature says of a head: that the record had it, that what came up to it was removed, or that an export led
 * to it from another. An anchor is no end of an export: put behind its event, it would hide that the rest was cut.
 */
export type Claim = "anchor" | "start" | ExportClaim;

type ExportClaim = `export behind ${bigint}:${string}`;

/** What the end of an export claims that begins behind this head. */
export function exportBehind({ seq, hash }: Head): ExportClaim {
  return `export behind ${seq}:${hash.toString("hex")}`;
}

/** The key of this deployment that signs what is said of records. */
export interface AuditKey {
  /** The first half of the public key's SHA-256, in hex. */
  readonly id: string;
  readonly publicKey: KeyObject;
  sign(text: string): Buffer;
}

/** What a key is called beside its signatures. */
export function keyIdOf(publicKey: KeyObject): string {
  const der = publicKey.export({ format: "der", type: "spki" });
  return createHash("sha256").update(der).digest("hex").slice(0, 32);
}

/** What is signed, a line for each part: short enough to be written by hand and checked with openssl. */
function signedText(
  claim: Claim,
  orgId: string,
  { seq, hash, at }: Omit<SignedHead, "keyId" | "signature">,
): string {
  return `patchbay audit ${claim} v1\n${orgId}\n${seq}\n${hash.toString("hex")}\n${at.toISOString()}\n`;
}

/** The head, signed. */
export function signHead(
  key: AuditKey,
  claim: Claim,
  orgId: string,
  { seq, hash }: Head,
  at: Date,
): SignedHead {
  const signature = key.sign(signedText(claim, orgId, { seq, hash, at }));
  return { seq, hash, at, keyId: key.id, signature };
}

const verifyElsewhere = promisify(verify);

/** Whether the key has signed this. Off the event loop: each takes a tenth of a millisecond, and a record has many. */
export async function isSigned(
  publicKey: KeyObject,
  claim: Claim,
  orgId: string,
  head: SignedHead,
): Promise<boolean> {
  // What the owner of the table left may be no time, and name another key.
  if (Number.isNaN(head.at.getTime()) || head.keyId !== keyIdOf(publicKey)) return false;
  return verifyElsewhere(null, Buffer.from(signedText(claim, orgId, head)), publicKey, head.signature);
}

/** A signed head as it is written down outside. */
export function signedToJson(orgId: string, { seq, hash, at, keyId, signature }: SignedHead) {
  return {
    ...{ orgId, seq: Number(seq), hash: hash.toString("hex"), at: timeText(at), keyId },
    signature: signature.toString("base64"),
  };
}

/** A time as it is written down outside; null for what the owner of the table left if that is none. */
export function timeText(at: Date | null): string | null {
  return at === null || Number.isNaN(at.getTime()) ? null : at.toISOString();
}
