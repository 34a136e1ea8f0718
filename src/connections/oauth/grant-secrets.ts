import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import type { Tx } from "#src/db/database.ts";
import { Secret } from "#src/platform/secret.ts";
import { fingerprintOf } from "../connection.ts";
import type { StoredCredential } from "../store.ts";
import type { GrantRef } from "./grant-store.ts";

/** What is kept of a token answer, by the names that templates of injection use. */
export interface GrantSecrets {
  readonly accessToken: string;
  readonly refreshToken?: string | undefined;
}

/** The tokens of a grant in the clear. */
export async function openGrant(
  keyring: Keyring,
  ref: GrantRef,
  stored: { credential: StoredCredential; wrappedKey: Buffer | null },
): Promise<GrantSecrets> {
  const { credential, wrappedKey } = stored;
  using secret = await keyring.open(ownerOf(ref, credential.version), credential.sealed, wrappedKey);
  return JSON.parse(secret.reveal().toString()) as GrantSecrets;
}

/** The tokens sealed as a version of the connection's credential, and what records show of them. */
export async function sealGrant(
  sealer: Sealer,
  tx: Tx,
  ref: GrantRef,
  version: number,
  secrets: GrantSecrets,
) {
  using secret = Secret.fromText(JSON.stringify(secrets));
  return {
    version,
    sealed: await sealer.seal(tx, ownerOf(ref, version), secret),
    // No dictionary holds an access token, so its plain hash gives nothing away.
    fingerprint: fingerprintOf(Buffer.from(secrets.accessToken)),
  };
}

function ownerOf({ orgId, id }: GrantRef, version: number) {
  return { orgId, kind: "connection", id, version } as const;
}
