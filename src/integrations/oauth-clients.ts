import type { Fingerprint } from "#src/crypto/fingerprint.ts";
import type { Keyring, SealOwner } from "#src/crypto/keyring.ts";
import type { Database, Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { Secret } from "#src/platform/secret.ts";
import {
  findClient,
  findClientForUpdate,
  putClient,
  type ClientPlace,
  type StoredClient,
} from "./client-store.ts";
import type { AuthMethod, Integration } from "./integration.ts";
import { expand } from "./templates.ts";

/** What an organisation is registered as at a service. */
export interface OAuthClient {
  readonly clientId: string;
  /** Undefined for a public client. Whoever got it wipes it. */
  readonly secret: Secret | undefined;
  /** The token URL that the secret was stored for: a template, in which `{a|b}` is one of a list. */
  readonly boundTo: string;
}

/** What a client is stored as. */
export interface GivenClient {
  readonly clientId: string;
  readonly clientSecret: string | undefined;
  readonly boundTo: string;
}

/** Keeps the OAuth clients of organisations. */
export interface OAuthClients {
  /** The client for the auth method, its secret in the clear. Asks the root key: not inside a transaction. */
  get(viewer: Viewer, integration: string, authMethod: string): Promise<OAuthClient | undefined>;
  /** Runs the change with a function that stores clients. The root key is asked before, not inside. */
  storing<T>(viewer: Viewer, change: (store: StoreClient) => Promise<T>): Promise<T>;
}

/** Stores a client in place of the previous one, and answers both. */
export type StoreClient = (
  tx: Tx,
  place: ClientPlace,
  given: GivenClient,
  at: Date,
) => Promise<{ readonly before: StoredClient | undefined; readonly stored: StoredClient }>;

/** Creates the one place where client secrets are sealed and opened. */
export function createOAuthClients(parts: {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly fingerprint: Fingerprint;
}): OAuthClients {
  const { database, keyring, fingerprint } = parts;
  return {
    async get(viewer, integration, authMethod) {
      const place = { integration, authMethod };
      const client = await database.read(viewer.orgId, (tx) => findClient(tx, viewer, place));
      if (client === undefined) return undefined;
      const { clientId, boundTo, secret, version, wrappedKey } = client;
      if (secret === undefined) return { clientId, boundTo, secret };
      const opened = await keyring.open(ownerOf(viewer, place, version), secret.sealed, wrappedKey);
      return { clientId, boundTo, secret: opened };
    },

    storing: (viewer, change) =>
      keyring.sealing(viewer.orgId, (sealer) =>
        change(async (tx, place, { clientId, clientSecret, boundTo }, at) => {
          const before = await findClientForUpdate(tx, viewer, place);
          const version = (before?.version ?? 0) + 1;
          using secret = clientSecret === undefined ? undefined : Secret.fromText(clientSecret);
          const stored = {
            ...{ clientId, boundTo, version },
            secret: secret && {
              sealed: await sealer.seal(tx, ownerOf(viewer, place, version), secret),
              fingerprint: fingerprint(viewer.orgId, secret.reveal()),
            },
          };
          await putClient(tx, viewer, place, stored, at);
          return { before, stored };
        }),
      ),
  };
}

/**
 * Where the method's client secret goes: its token URL, or the issuer that is asked for it. Lists of values stand in it,
 * so that a definition with another list is another place.
 */
export function placeOfSecret({ placeholders = {} }: Integration, { oauth2 }: AuthMethod): string {
  const template = oauth2?.tokenUrl ?? oauth2?.issuer ?? "";
  const lists = Object.entries(placeholders).flatMap(
    ([name, { enum: list = [], pattern }]): (readonly [string, string])[] => {
      if (list.length === 0 || pattern !== undefined) return [];
      return [[name, list.length > 1 ? `{${list.join("|")}}` : list.join("")]];
    },
  );
  return expand(template, Object.fromEntries(lists));
}

/** The record that the secret of a client is sealed for. */
export function ownerOf(
  { orgId, environment }: Pick<Viewer, "orgId" | "environment">,
  { integration, authMethod }: ClientPlace,
  version: number,
): SealOwner {
  return { orgId, kind: "oauth-client", id: JSON.stringify([environment, integration, authMethod]), version };
}
