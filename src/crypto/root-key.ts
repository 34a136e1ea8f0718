import { createHash, createSecretKey, randomBytes, type KeyObject } from "node:crypto";
import { open, seal } from "./seal.ts";

/**
 * The key that everything else is sealed under, wherever it is kept. A key management service fits behind it:
 * it never needs to hand out the key, only to wrap and unwrap 32 bytes.
 */
export interface RootKey {
  /** Names the key without revealing anything of it; stored beside what it wrapped. */
  readonly id: string;
  wrap(key: Buffer, context: readonly string[]): Promise<Buffer>;
  /** Rejects when the bytes were not wrapped by this key for this context. */
  unwrap(wrapped: Buffer, context: readonly string[]): Promise<Buffer>;
}

const rootKeyBytes = 32;

/** A new root key, in the text form that settings and the key file hold. */
export function newRootKeyText(): string {
  return randomBytes(rootKeyBytes).toString("base64");
}

/** The root key in a setting or a file: base64 of 32 random bytes. */
export function localRootKey(text: string): RootKey {
  const bytes = Buffer.from(text.trim(), "base64");
  // Node skips what is not base64, so a mistyped key would silently become a shorter or different one.
  if (bytes.length !== rootKeyBytes || bytes.toString("base64") !== text.trim()) {
    throw new Error(
      "the root key must be base64 of exactly 32 bytes; make one with: openssl rand -base64 32",
    );
  }
  const id = `local:${createHash("sha256").update("patchbay root key id").update(bytes).digest("hex").slice(0, 16)}`;
  const key: KeyObject = createSecretKey(bytes);
  bytes.fill(0);
  return {
    id,
    wrap: async (plain, context) => seal(key, plain, [id, ...context]),
    unwrap: async (wrapped, context) => open(key, wrapped, [id, ...context]),
  };
}
