import { randomBytes } from "node:crypto";
import { RootKeyRefused } from "./errors.ts";
import type { RootKey } from "./root-key.ts";
import { SealBroken } from "./seal.ts";

/**
 * Wraps and unwraps a key that nothing is sealed with, as the service will. Rejects with what is wrong; so it does for
 * a root key that would unwrap one organisation's key for another, as one that ignores the context does.
 */
export async function checkRootKey(rootKey: RootKey): Promise<void> {
  const key = randomBytes(32);
  const wrapped = await rootKey.wrap(key, ["check", "1"]);
  const unwrapped = await rootKey.unwrap(wrapped, ["check", "1"]);
  if (!unwrapped.equals(key)) {
    throw new RootKeyRefused(
      `the root key ${rootKey.id} unwraps other bytes than it wrapped: use another one`,
    );
  }
  if (await unwraps(rootKey, wrapped, ["check", "2"])) {
    throw new RootKeyRefused(
      `the root key ${rootKey.id} unwraps what was wrapped for another record: give one that authenticates what a ` +
        "key belongs to; with Vault, that is 1.12 or later and a key with type=aes256-gcm96",
    );
  }
}

async function unwraps(rootKey: RootKey, wrapped: Buffer, context: readonly string[]): Promise<boolean> {
  try {
    await rootKey.unwrap(wrapped, context);
    return true;
  } catch (error) {
    if (error instanceof SealBroken) return false;
    throw error;
  }
}
