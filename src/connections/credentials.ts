import type { ServicePrincipals } from "#src/api-keys/service-principal.ts";
import type { NewAuditEvent } from "#src/audit/append.ts";
import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import type { Tx } from "#src/db/database.ts";
import { scopesOf } from "#src/integrations/endpoints.ts";
import { inject } from "#src/integrations/inject.ts";
import { describeService } from "#src/integrations/siblings.ts";
import { callerServiceHeader } from "#src/outbound/headers.ts";
import type { Injection, OutboundCredential } from "#src/outbound/injection.ts";
import type { Caller, Viewer } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { Secret } from "#src/platform/secret.ts";
import { fingerprintOf, requireSendable, type Connection } from "./connection.ts";
import { CredentialRequired } from "./errors.ts";
import { isBuiltIn, type ServiceSlug } from "#src/integrations/slug.ts";
import { putCredential, type SealedConnection, type StoredCredential } from "./store.ts";

/** What a connection is to hold: a key that was given, or a service principal with these scopes. */
export type WantedCredential = { readonly apiKey: string } | { readonly principalScopes: readonly string[] };

/** The credential that the caller asks for. Only siblings accept the keys that we issue. */
export function wantedCredential(
  slug: ServiceSlug,
  { apiKey, scopes }: { apiKey?: string | undefined; scopes: readonly string[] },
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
  const principalScopes = scopes.length > 0 ? scopes : scopesOf(describeService(slug));
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
}

/** Seals a credential in place of the previous one. If that was a service principal, its key is revoked. */
export type StoreCredential = (
  tx: Tx,
  connection: Connection,
  before: StoredCredential | undefined,
) => Promise<Replaced>;

/** The credentials of connections, sealed, and the service principals among them. */
export interface Credentials {
  /** Runs the change with a function that stores the wanted credential. The root key is asked before, not inside. */
  storing<T>(
    caller: Caller,
    wanted: WantedCredential,
    change: (store: StoreCredential) => Promise<T>,
  ): Promise<T>;
  /** Revokes the service principal of a deleted connection. */
  end(tx: Tx, viewer: Viewer, before: StoredCredential): Promise<readonly NewAuditEvent[]>;
  /** The credential in the clear, and the base URL that it is bound to. */
  open(connection: SealedConnection): Promise<OpenCredential>;
}

/** The credential that a call carries, in the clear until it is disposed of. */
export interface OpenCredential extends OutboundCredential, Disposable {}

/** Creates the one place where credentials are sealed and opened. */
export function createCredentials(keyring: Keyring, principals: ServicePrincipals): Credentials {
  async function obtain(
    tx: Tx,
    caller: Caller,
    serviceSlug: ServiceSlug | undefined,
    wanted: WantedCredential,
    replacedKeyId: string | undefined,
  ) {
    if ("apiKey" in wanted) {
      return { secret: Secret.fromText(wanted.apiKey), principalKeyId: undefined, events: [] };
    }
    if (serviceSlug === undefined) throw new Error("only a sibling service takes keys of ours");
    const scopes = wanted.principalScopes;
    const { secret, keyId, event } = await principals.issue(tx, caller, {
      serviceSlug,
      scopes,
      replacedKeyId,
    });
    return { secret, principalKeyId: keyId, events: [event] };
  }

  async function end(tx: Tx, viewer: Viewer, { principalKeyId }: StoredCredential) {
    if (principalKeyId === undefined) return [];
    const event = await principals.revoke(tx, viewer, principalKeyId);
    return event === undefined ? [] : [event];
  }

  function storeWith(sealer: Sealer, caller: Caller, wanted: WantedCredential): StoreCredential {
    return async (tx, connection, before) => {
      const { events, principalKeyId, ...obtained } = await obtain(
        tx,
        caller,
        connection.slug,
        wanted,
        before?.principalKeyId,
      );
      using secret = obtained.secret;
      const version = (before?.version ?? 0) + 1;
      const stored = {
        boundTo: connection.baseUrl,
        version,
        sealed: await sealer.seal(tx, ownerOf(connection, version), secret),
        fingerprint: fingerprintOf(secret.reveal()),
        principalKeyId,
        form: "token",
        expiresAt: undefined,
        refreshAt: undefined,
      } as const;
      await putCredential(tx, connection.orgId, connection.id, stored);
      const ended = before === undefined ? [] : await end(tx, caller, before);
      return { stored, events: [...events, ...ended] };
    };
  }

  return {
    storing: (caller, wanted, change) =>
      keyring.sealing(caller.orgId, (sealer) => change(storeWith(sealer, caller, wanted))),

    end,

    async open(connection) {
      const { credential, wrappedKey } = connection;
      const { boundTo, version, sealed } = credential;
      if (wrappedKey === null) throw new Error(`the key that opens connection ${connection.id} is gone`);
      const secret = await keyring.open(ownerOf(connection, version), sealed, wrappedKey);
      return {
        boundTo,
        reveal: () => injectionOf(connection, secretsIn(secret, credential.form)),
        [Symbol.dispose]: () => secret[Symbol.dispose](),
      };
    },
  };
}

/** A token is one line of ASCII; Latin-1 changes nothing else either. */
function secretsIn(secret: Secret, form: StoredCredential["form"]): Readonly<Record<string, string>> {
  if (form === "token") return { token: secret.reveal().toString("latin1") };
  return JSON.parse(secret.reveal().toString()) as Record<string, string>;
}

/** What a call through the connection carries, of these secrets. */
export function injectionOf(
  connection: SealedConnection,
  secrets: Readonly<Record<string, string>>,
): Injection {
  const { recipe, params, callerServiceSlug } = connection;
  const injection = inject(recipe, params, secrets);
  if (callerServiceSlug === undefined) return injection;
  return { ...injection, headers: { ...injection.headers, [callerServiceHeader]: callerServiceSlug } };
}

function ownerOf({ orgId, id }: Pick<Connection, "orgId" | "id">, version: number) {
  return { orgId, kind: "connection", id, version } as const;
}

/** What a connection's event says of its credential: enough to compare, and the key's id if it is ours. */
export function credentialDetails(before: StoredCredential | undefined, after: StoredCredential | undefined) {
  const ofOurs = before?.principalKeyId ?? after?.principalKeyId;
  return {
    apiKeyHash: { before: before?.fingerprint ?? null, after: after?.fingerprint ?? null },
    ...(ofOurs !== undefined && {
      principalKeyId: { before: before?.principalKeyId ?? null, after: after?.principalKeyId ?? null },
    }),
  };
}
