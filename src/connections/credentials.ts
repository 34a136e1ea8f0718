import type { ServicePrincipals } from "#src/api-keys/service-principal.ts";
import type { NewAuditEvent } from "#src/audit/append.ts";
import type { Fingerprint } from "#src/crypto/fingerprint.ts";
import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import { wrappedKeyOf } from "#src/crypto/org-keys.ts";
import type { Tx } from "#src/db/database.ts";
import { inject } from "#src/integrations/inject.ts";
import { callerServiceHeader } from "#src/outbound/headers.ts";
import type { Injection, OutboundCredential } from "#src/outbound/injection.ts";
import type { Caller, Viewer } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { Secret } from "#src/platform/secret.ts";
import { fingerprintOf, requireSendable, type Connection } from "./connection.ts";
import { ConnectionInactive, CredentialRequired } from "./errors.ts";
import { fallbackOf, type Before } from "./fallback.ts";
import type { Deleted } from "./oauth/revoke.ts";
import { getFallback, putFallback, type FallbackCredential } from "./fallback-store.ts";
import { isBuiltIn, type ServiceSlug } from "#src/integrations/slug.ts";
import { deleteGrant, putCredential, type SealedConnection, type StoredCredential } from "./store.ts";

/** Secrets by the names of their fields. */
export type Secrets = Readonly<Record<string, string>>;

/** What a connection is to hold: a key that was given, a service principal with these scopes, or other secrets. */
export type WantedCredential =
  | { readonly apiKey: string }
  | { readonly principalScopes: readonly string[] }
  | { readonly secrets: Secrets };

/** The credential that the caller asks for. Only siblings accept the keys that we issue. */
export function wantedCredential(
  slug: ServiceSlug,
  { apiKey, scopes }: { apiKey?: string | undefined; scopes: readonly string[] },
  /** Those that the service's endpoints need. */
  described: readonly string[],
): WantedCredential {
  if (apiKey !== undefined) {
    if (scopes.length > 0) {
      throw new InvalidRequest(
        "scopes: they exclude apiKey, whose scopes the other service knows; give one of the two",
      );
    }
    requireSendable(apiKey);
    return { apiKey };
  }
  if (!isBuiltIn(slug)) throw new CredentialRequired("apiKey: give the key that the service expects");
  const principalScopes = scopes.length > 0 ? scopes : described;
  if (principalScopes.length === 0) {
    throw new CredentialRequired(
      `the catalog names no scopes for ${slug}; give the scopes of the service principal to issue, or an apiKey`,
    );
  }
  return { principalScopes };
}

/** A credential that was stored, and the events of its keys, to be recorded before the connection's own. */
export interface Replaced {
  readonly stored: StoredCredential;
  readonly events: readonly NewAuditEvent[];
  /** Until when the previous one is a fallback. */
  readonly fallbackUntil?: Date | undefined;
  /** The grant in whose place it came, to be ended at the service behind the change. */
  readonly endedGrant?: Deleted | undefined;
}

/**
 * Seals a credential in place of the previous one. If that was a service principal, its key is revoked; otherwise it
 * stays as a fallback, if it is to until then.
 */
export type StoreCredential = (
  tx: Tx,
  connection: Connection,
  wanted: WantedCredential,
  before?: Before,
  fallbackUntil?: Date,
) => Promise<Replaced>;

/** The credentials of connections, sealed, and the service principals among them. */
export interface Credentials {
  /** Runs the change with a function that stores a credential. The root key is asked before, not inside. */
  storing<T>(caller: Caller, change: (store: StoreCredential) => Promise<T>): Promise<T>;
  /** Revokes the service principal of a deleted connection. */
  end(tx: Tx, viewer: Viewer, before: StoredCredential | undefined): Promise<readonly NewAuditEvent[]>;
  /** The credential in the clear, and the base URL that it is bound to. */
  open(connection: SealedConnection): Promise<OpenCredential>;
  /** The fallback in the clear, and the base URL that this one is bound to. */
  openFallback(
    connection: SealedConnection,
    fallback: NonNullable<SealedConnection["fallback"]>,
  ): Promise<OpenCredential>;
  /** The secrets themselves, as texts: only for what cannot be done with an open credential. */
  secretsOf(connection: SealedConnection): Promise<Secrets>;
}

/** The credential that a call carries, in the clear until it is disposed of. */
export interface OpenCredential extends OutboundCredential, Disposable {}

/** Creates the one place where credentials are sealed and opened. */
export function createCredentials(parts: {
  keyring: Keyring;
  principals: ServicePrincipals;
  fingerprint: Fingerprint;
  now: () => Date;
}): Credentials {
  const { keyring, principals, fingerprint, now } = parts;

  async function obtain(
    tx: Tx,
    caller: Caller,
    serviceSlug: ServiceSlug | undefined,
    wanted: WantedCredential,
    replacedKeyId: string | undefined,
  ) {
    if ("apiKey" in wanted) {
      return {
        secret: Secret.fromText(wanted.apiKey),
        form: "token",
        principalKeyId: undefined,
        events: [],
      } as const;
    }
    if ("secrets" in wanted) {
      const secret = Secret.fromText(textOf(wanted.secrets));
      return { secret, form: "fields", principalKeyId: undefined, events: [] } as const;
    }
    if (serviceSlug === undefined) throw new Error("only a sibling service takes keys of ours");
    const scopes = wanted.principalScopes;
    const { secret, keyId, event } = await principals.issue(tx, caller, {
      serviceSlug,
      scopes,
      replacedKeyId,
    });
    return { secret, form: "token", principalKeyId: keyId, events: [event] } as const;
  }

  async function end(tx: Tx, viewer: Viewer, before: StoredCredential | undefined) {
    if (before?.principalKeyId === undefined) return [];
    const event = await principals.revoke(tx, viewer, before.principalKeyId);
    return event === undefined ? [] : [event];
  }

  function storeWith(sealer: Sealer, caller: Caller): StoreCredential {
    return async (tx, connection, wanted, before, fallbackUntil) => {
      const { events, principalKeyId, form, ...obtained } = await obtain(
        tx,
        caller,
        connection.slug,
        wanted,
        before?.credential?.principalKeyId,
      );
      using secret = obtained.secret;
      const version = (before?.credential?.version ?? 0) + 1;
      const stored = {
        boundTo: connection.baseUrl,
        version,
        sealed: await sealer.seal(tx, ownerOf(connection, version), secret),
        fingerprint:
          form === "token" ? fingerprintOf(secret.reveal()) : fingerprint(caller.orgId, secret.reveal()),
        principalKeyId,
        form,
        expiresAt: undefined,
        refreshAt: undefined,
      } as const;
      await putCredential(tx, connection.orgId, connection.id, stored);
      if (before === undefined) return { stored, events };
      const known = await getFallback(tx, connection);
      const next = { connection, credential: stored };
      const fallback = fallbackOf(before, next, { known, until: fallbackUntil, now: now() });
      await putFallback(tx, connection, fallback);
      await deleteGrant(tx, connection);
      const ended = await end(tx, caller, before.credential);
      const endedGrant = await grantOf(tx, before);
      return { stored, events: [...events, ...ended], fallbackUntil: fallback?.validUntil, endedGrant };
    };
  }

  /** What is needed to end a grant once it is stored no more. */
  async function grantOf(tx: Tx, { connection, credential }: Before): Promise<Deleted | undefined> {
    if (credential === undefined || connection.recipe.method.type !== "oauth2") return undefined;
    const wrappedKey = await wrappedKeyOf(tx, connection.orgId, credential.sealed.kekVersion);
    return { connection, credential, wrappedKey };
  }

  /** The secret, which the caller wipes. */
  async function unseal(
    connection: Pick<Connection, "orgId" | "id">,
    { version, sealed }: Pick<StoredCredential, "version" | "sealed">,
    wrappedKey: Buffer | null,
  ): Promise<Secret> {
    return keyring.open(ownerOf(connection, version), sealed, wrappedKey);
  }

  function opened(
    secret: Secret,
    from: SealedConnection,
    { boundTo, form }: FallbackCredential | StoredCredential,
  ) {
    return {
      boundTo,
      reveal: () => injectionOf(from, secretsIn(secret, form)),
      [Symbol.dispose]: () => secret[Symbol.dispose](),
    };
  }

  return {
    storing: (caller, change) => keyring.sealing(caller.orgId, (sealer) => change(storeWith(sealer, caller))),

    end,

    async open(connection) {
      const { credential, wrappedKey } = requireCredential(connection);
      return opened(await unseal(connection, credential, wrappedKey), connection, credential);
    },

    async openFallback(connection, fallback) {
      const { recipe, params } = fallback;
      const secret = await unseal(connection, fallback, fallback.wrappedKey);
      // What was issued as a service principal is no fallback.
      return opened(secret, { ...connection, recipe, params, callerServiceSlug: undefined }, fallback);
    },

    async secretsOf(connection) {
      const { credential, wrappedKey } = requireCredential(connection);
      using secret = await unseal(connection, credential, wrappedKey);
      return secretsIn(secret, credential.form);
    },
  };
}

function requireCredential(connection: SealedConnection) {
  const { id, slug, credential, wrappedKey } = connection;
  if (credential === undefined) throw new ConnectionInactive(slug ?? id, "PENDING_AUTHORIZATION");
  return { credential, wrappedKey };
}

/** In one order, so that the same secrets have the same fingerprint. */
export function textOf(secrets: Secrets): string {
  return JSON.stringify(Object.fromEntries(Object.entries(secrets).toSorted(([a], [b]) => (a < b ? -1 : 1))));
}

/** A token is one line of ASCII; Latin-1 changes nothing else either. */
function secretsIn(secret: Secret, form: StoredCredential["form"]): Readonly<Record<string, string>> {
  if (form === "token") return { token: secret.reveal().toString("latin1") };
  return JSON.parse(secret.reveal().toString()) as Record<string, string>;
}

/** What a call through the connection carries, of these secrets. */
export function injectionOf(
  connection: Pick<SealedConnection, "recipe" | "params" | "callerServiceSlug">,
  secrets: Readonly<Record<string, string>>,
): Injection {
  const { recipe, params, callerServiceSlug } = connection;
  const injection = inject(recipe, params, secrets);
  if (callerServiceSlug === undefined) return injection;
  return { ...injection, headers: { ...injection.headers, [callerServiceHeader]: callerServiceSlug } };
}

/** The record that a credential is sealed for. */
export function ownerOf({ orgId, id }: Pick<Connection, "orgId" | "id">, version: number) {
  return { orgId, kind: "connection", id, version } as const;
}

/** What a connection's event says of its credential: enough to compare, and the key's id if it is ours. */
export function credentialDetails(
  before: StoredCredential | undefined,
  after: StoredCredential | undefined,
  fallbackUntil?: Date,
) {
  const ofOurs = before?.principalKeyId ?? after?.principalKeyId;
  const hashes = { before: before?.fingerprint ?? null, after: after?.fingerprint ?? null };
  const ofApiKeys = [hashes.before, hashes.after].every(
    (hash) => hash === null || hash.startsWith("sha256:"),
  );
  return {
    ...(ofApiKeys ? { apiKeyHash: hashes } : { credentialHash: hashes }),
    ...(ofOurs !== undefined && {
      principalKeyId: { before: before?.principalKeyId ?? null, after: after?.principalKeyId ?? null },
    }),
    ...(fallbackUntil && { fallbackUntil: fallbackUntil.toISOString() }),
  };
}
