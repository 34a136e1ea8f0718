import { createCipheriv, createDecipheriv, randomFillSync, type KeyObject } from "node:crypto";
import { atOnce, type LongWork } from "#src/platform/in-turns.ts";

const format = 1;
const nonceBytes = 12;
const tagBytes = 16;
const headerBytes = 1 + nonceBytes;
/** About a millisecond's work. */
const turnBytes = 512 * 1024;

/** The sealed bytes were not made by this key for this owner, or were changed since. */
export class SealBroken extends Error {
  override readonly name = "SealBroken";

  constructor() {
    super("sealed bytes do not open: wrong key, other owner, or changed since");
  }
}

/**
 * AES-256-GCM with a random nonce: `format ‖ nonce ‖ ciphertext ‖ tag`.
 *
 * The context (the record that the bytes belong to) is authenticated with them: moved to another row or organisation,
 * they do not open. A key seals fewer than 2³² records, which is the bound for random nonces (NIST SP 800-38D, 8.3).
 */
export function seal(key: KeyObject, plain: Buffer, context: readonly string[]): Buffer {
  return atOnce(sealInTurns(key, plain, context));
}

/** As `seal`, for what may be long. */
export function* sealInTurns(key: KeyObject, plain: Buffer, context: readonly string[]): LongWork<Buffer> {
  const nonce = newNonce();
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(additionalData(context));
  const sealed = Buffer.allocUnsafe(headerBytes + plain.length + tagBytes);
  sealed[0] = format;
  nonce.copy(sealed, 1);
  for (let at = 0; at < plain.length; at += turnBytes) {
    if (at > 0) yield;
    cipher.update(plain.subarray(at, at + turnBytes)).copy(sealed, headerBytes + at);
  }
  cipher.final();
  cipher.getAuthTag().copy(sealed, headerBytes + plain.length);
  return sealed;
}

/** The bytes that were sealed for exactly this context, in a Buffer that the caller wipes. Throws `SealBroken`. */
export function open(key: KeyObject, sealed: Buffer, context: readonly string[]): Buffer {
  return atOnce(openInTurns(key, sealed, context));
}

/** As `open`, for what may be long. */
export function* openInTurns(key: KeyObject, sealed: Buffer, context: readonly string[]): LongWork<Buffer> {
  if (sealed.length < headerBytes + tagBytes || sealed[0] !== format) throw new SealBroken();
  const nonce = sealed.subarray(1, headerBytes);
  // Without authTagLength Node accepts a tag cut to 4 bytes, which can be forged by trying.
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(additionalData(context));
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  const hidden = sealed.subarray(headerBytes, -tagBytes);
  const plain = Buffer.allocUnsafeSlow(hidden.length);
  for (let at = 0; at < hidden.length; at += turnBytes) {
    if (at > 0) yield;
    const opened = decipher.update(hidden.subarray(at, at + turnBytes));
    opened.copy(plain, at);
    opened.fill(0);
  }
  try {
    decipher.final();
  } catch {
    plain.fill(0);
    throw new SealBroken();
  }
  return plain;
}

/** Lengths keep the parts apart: `["a", "bc"]` and `["ab", "c"]` must not authenticate each other. */
function additionalData(context: readonly string[]): Buffer {
  const size = context.reduce((sum, text) => sum + 4 + Buffer.byteLength(text), 1);
  const bytes = Buffer.allocUnsafe(size);
  let at = bytes.writeUInt8(format);
  for (const text of context) {
    const length = bytes.write(text, at + 4);
    at = bytes.writeUInt32BE(length, at) + length;
  }
  return bytes;
}

/** Random bytes for nonces: to ask for twelve costs as much as to ask for a thousand. */
const randomness = Buffer.alloc(nonceBytes * 256);
let unused = 0;

/** Each is handed out once, and copied: what stands in the pool is overwritten. */
function newNonce(): Buffer {
  if (unused === 0) unused = randomFillSync(randomness).length;
  unused -= nonceBytes;
  return Buffer.from(randomness.subarray(unused, unused + nonceBytes));
}
