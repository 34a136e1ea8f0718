import { RootKeyMissing } from "./errors.ts";
import type { RootKey } from "./root-key.ts";

/** The root keys that are configured. */
export interface RootKeyParts {
  /** Wraps whatever is wrapped from now on. */
  readonly rootKey: RootKey;
  /** Opens what it wrapped, while one root key takes the place of another; wraps nothing. */
  readonly secondRootKey?: RootKey | undefined;
}

/**
 * The root key that wrapped something, by the id that is stored beside it. Never by trying one after the other: a key
 * that opens something it should not would hide a fault. Throws RootKeyMissing.
 */
export function rootKeyNamed(id: string, { rootKey, secondRootKey }: RootKeyParts): RootKey {
  const known = secondRootKey === undefined ? [rootKey] : [rootKey, secondRootKey];
  const named = known.find((one) => one.id === id);
  if (named === undefined)
    throw new RootKeyMissing(
      id,
      known.map((one) => one.id),
    );
  return named;
}
