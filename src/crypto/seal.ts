import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from "node:crypto";

const format = 1;
const nonceBytes = 12;
const tagBytes = 16;
const headerBytes = 1 + nonceBytes;

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
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(additionalData(context));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([Buffer.of(format), nonce, sealed, cipher.getAuthTag()]);
}

/** The bytes that were sealed for exactly this context, in a Buffer that the caller wipes. Throws `SealBroken`. */
export function open(key: KeyObject, sealed: Buffer, context: readonly string[]): Buffer {
  if (sealed.length < headerBytes + tagBytes || sealed[0] !== format) throw new SealBroken();
  const nonce = sealed.subarray(1, headerBytes);
  // Without authTagLength Node accepts a tag cut to 4 bytes, which can be forged by trying.
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(additionalData(context));
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  const plain = decipher.update(sealed.subarray(headerBytes, -tagBytes));
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
  const parts: Buffer[] = [Buffer.of(format)];
  for (const text of context) {
    const bytes = Buffer.from(text, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}
