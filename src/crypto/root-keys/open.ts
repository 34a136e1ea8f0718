import type { Log } from "#src/platform/log.ts";
import type { Secret } from "#src/platform/secret.ts";
import type { RootKey } from "../root-key.ts";
import type { RootKeyPlace } from "./place.ts";
import { remoteRootKey, usualPatience, type KeyService, type Patience } from "./remote.ts";

/** What the root keys of providers need beside their place. */
export interface RootKeyParts {
  /** For Vault, unless its URL says where else to find one. */
  readonly vaultToken: Secret | undefined;
  readonly log: Log;
  readonly patience?: Patience;
}

/** The root key at this place. The provider's code and packages are loaded for those that use them only. */
export async function rootKeyAt(place: RootKeyPlace, parts: RootKeyParts): Promise<RootKey> {
  const { patience = usualPatience } = parts;
  return remoteRootKey(await serviceAt(place, parts, patience), patience);
}

async function serviceAt(place: RootKeyPlace, parts: RootKeyParts, patience: Patience): Promise<KeyService> {
  switch (place.kind) {
    case "awskms":
      return (await import("./aws-kms.ts")).awsKms(place, patience);
    case "gcpkms":
      return (await import("./gcp-kms.ts")).gcpKms(place, patience);
    case "vault":
      return (await import("./vault-transit.ts")).vaultTransit(place, parts);
  }
}
