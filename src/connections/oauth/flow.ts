import { randomBytes } from "node:crypto";
import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import type { Tx } from "#src/db/database.ts";
import { Secret } from "#src/platform/secret.ts";
import { hashOf, type Flow } from "./flow-store.ts";

/** A token that cannot be guessed, for a URL or a cookie. */
export function newToken(): string {
  return randomBytes(32).toString("base64url");
}

/** What every stage of an authorization carries on. */
export type Carried = Pick<
  Flow,
  "orgId" | "connectionId" | "userId" | "apiKeyId" | "scopes" | "returnTo" | "expiresAt"
>;

/** A flow whose stage has no secret of its own yet. */
export function openFlow(token: string, stage: Flow["stage"], carried: Carried): Flow {
  const { orgId, connectionId, userId, apiKeyId, scopes, returnTo, expiresAt } = carried;
  return {
    ...{ orgId, connectionId, userId, apiKeyId, scopes, returnTo, expiresAt, stage },
    tokenHash: hashOf(token),
    ...{ browserHash: null, kekVersion: null, sealed: null, pollAt: null, pollSeconds: null },
  };
}

/** The flow with a secret of its stage, sealed. */
export async function withSecret(sealer: Sealer, tx: Tx, flow: Flow, text: string): Promise<Flow> {
  using secret = Secret.fromText(text);
  const { kekVersion, bytes } = await sealer.seal(tx, ownerOf(flow), secret);
  return { ...flow, kekVersion, sealed: bytes };
}

/** The secret of a flow in the clear; undefined if it has none. */
export async function secretOf(
  keyring: Keyring,
  flow: Flow,
  wrappedKey: Buffer | null,
): Promise<string | undefined> {
  const { kekVersion, sealed } = flow;
  if (kekVersion === null || sealed === null) return undefined;
  using secret = await keyring.open(ownerOf(flow), { kekVersion, bytes: sealed }, wrappedKey);
  return secret.reveal().toString();
}

/** The record that the secret of a flow is sealed for. */
export function ownerOf({ orgId, tokenHash }: Pick<Flow, "orgId" | "tokenHash">) {
  return { orgId, kind: "oauth-flow", id: tokenHash.toString("hex"), version: 1 } as const;
}
