import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** A key of a played key management service, with the versions that it had: the last one encrypts, all decrypt. */
export interface FakeKey {
  rotate(): void;
  readonly versions: number;
  encrypt(plain: Buffer, aad: string): { readonly version: number; readonly bytes: Buffer };
  /** Undefined for bytes that this key did not make for this context. */
  decrypt(version: number, bytes: Buffer, aad: string): Buffer | undefined;
}

export function fakeKey(): FakeKey {
  const keys = [randomBytes(32)];
  return {
    rotate: () => void keys.push(randomBytes(32)),
    get versions() {
      return keys.length;
    },
    encrypt(plain, aad) {
      const iv = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", keys.at(-1)!, iv);
      cipher.setAAD(Buffer.from(aad));
      const bytes = Buffer.concat([iv, cipher.update(plain), cipher.final()]);
      return { version: keys.length, bytes: Buffer.concat([bytes, cipher.getAuthTag()]) };
    },
    decrypt(version, bytes, aad) {
      const key = keys[version - 1];
      if (key === undefined || bytes.length < 28) return undefined;
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12), { authTagLength: 16 });
      decipher.setAAD(Buffer.from(aad));
      decipher.setAuthTag(bytes.subarray(-16));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
      } catch {
        return undefined;
      }
    },
  };
}
