import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Environment } from "#src/platform/caller.ts";
import { withoutOuterSpace } from "#src/platform/http.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const randomLength = 26;
const checkLength = 6;
const shape = /^qe_sk_(sandbox|live)_[A-Z2-7]{32}$/;

/** The prefix and the first characters of a secret: enough to recognise it by, too little to guess it from. */
const hintLength = 4;

/**
 * A new secret `qe_sk_<env>_<32 base32>`: 26 random characters (130 bits) and 6 that check all before them,
 * so that a mistyped key is refused without a look-up and a scanner can tell a real one from a look-alike.
 */
export function newApiKeySecret(environment: Environment): string {
  let text = `qe_sk_${environment}_`;
  for (const byte of randomBytes(randomLength)) text += alphabet.charAt(byte & 31);
  return text + checkDigits(text);
}

/** The environment that a well-formed secret names; undefined if the text cannot be a key of ours. */
export function environmentOf(secret: string): Environment | undefined {
  const environment = shape.exec(secret)?.[1];
  if (environment === undefined) return undefined;
  if (checkDigits(secret.slice(0, -checkLength)) !== secret.slice(-checkLength)) return undefined;
  return environment as Environment;
}

/** Whether the text may be a key of an earlier system, which has no check digits that we know. */
export function mayBeImported(secret: string, legacyPrefixes: readonly string[]): boolean {
  return issuedPrefix.test(secret) || legacyPrefixes.some((prefix) => secret.startsWith(prefix));
}

const issuedPrefix = /^qe_sk_(?:sandbox|live)_/;

const maxLength = 512;
// HTTP's white space is space and tab. The bytes of a key in UTF-8 are read as characters, and some of them may be
// spaces for Unicode.
const bearer = /^bearer +([^ \t][^]*)$/i;

/** The secret of an Authorization header's value. The scheme's case does not matter (RFC 9110, 11.1). */
export function secretOfBearer(value: string): string | undefined {
  return value.length > maxLength ? undefined : bearer.exec(withoutOuterSpace(value))?.[1];
}

/** The secret in a text that is either the secret itself or an Authorization header's value. */
export function secretIn(text: string): string | undefined {
  if (/^[ \t]*(?:bearer|basic)(?:[ \t]|$)/i.test(text)) return secretOfBearer(text);
  return text === "" || text.length > maxLength ? undefined : text;
}

/**
 * The text that a client presented. Node reads each byte of a header as one character, and keys of earlier systems
 * may hold any character: where those bytes are UTF-8, that is what was meant.
 */
export function secretText(presented: string): string {
  if (!/[\x80-\xff]/.test(presented) || /[^\0-\xff]/.test(presented)) return presented;
  try {
    return utf8.decode(Buffer.from(presented, "latin1"));
  } catch {
    return presented;
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What lists show of a secret. */
export function hintOf(secret: string): string {
  const body = secret.lastIndexOf("_") + 1;
  return `${secret.slice(0, body + hintLength)}…`;
}

/** The low 30 bits of CRC-32 (ISO 3309), five to a character, highest first. */
function checkDigits(text: string): string {
  const sum = crc32(text);
  let digits = "";
  for (let i = checkLength - 1; i >= 0; i--) digits += alphabet.charAt((sum >>> (5 * i)) & 31);
  return digits;
}
