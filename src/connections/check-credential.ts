import type { ServiceImpl } from "@connectrpc/connect";
import { createHash, timingSafeEqual } from "node:crypto";
import type {
  CheckCredentialRequest,
  ConnectionService,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { append } from "#src/audit/append.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import { requireUsable } from "./access.ts";
import { textOf, type Secrets } from "./credentials.ts";
import type { ConnectionParts } from "./service.ts";
import { findSealed, type SealedConnection } from "./store.ts";

/** Whoever may try often enough finds a password out. */
const rate = { limit: 5, windowMs: 60_000 };

/** Says whether a credential is the stored one. See the contract. */
export function createCheckCredential(
  parts: ConnectionParts,
): ServiceImpl<typeof ConnectionService>["checkCredential"] {
  const { database, change, credentials, callLimiter } = parts;

  return async (request, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const { orgId } = caller;
    const { id } = request;
    const found = await database.read(orgId, (tx) => findSealed(tx, caller, id));
    const connection = requireUsable(caller, found?.id === id ? found : undefined);
    const candidate = candidateOf(request, connection);
    const budget = await callLimiter.spend(`check-credential/${orgId}/${id}`, rate);
    if (!budget.allowed) throw new RateLimited(budget);
    const matches = isSame(candidate, { ...connection.params, ...(await credentials.secretsOf(connection)) });
    await change(call, (tx) =>
      append(tx, call, {
        action: "connection.check",
        target: id,
        details: { ...(connection.slug !== undefined && { serviceSlug: connection.slug }), matches },
      }),
    );
    return { matches };
  };
}

/** All that a call would be made with, if the credential were the stored one. */
function candidateOf({ apiKey, credentials }: CheckCredentialRequest, connection: SealedConnection): Secrets {
  const { recipe, params, credential } = connection;
  const { fields, id, type } = recipe.method;
  if (type === "oauth2") throw new InvalidRequest(`credentials: ${id} has none that could be given`);
  if (credential === undefined) throw new InvalidRequest("credentials: the connection has none yet");
  if ((apiKey === undefined) === (Object.keys(credentials).length === 0)) {
    throw new InvalidRequest("apiKey: give one of apiKey, credentials");
  }
  if (apiKey !== undefined) return { ...params, [soleSecret(connection)]: apiKey };
  const unknown = Object.keys(credentials).find((name) => !fields.some((field) => field.name === name));
  if (unknown !== undefined) {
    throw new InvalidRequest(
      `credentials: ${id} has ${fields.map(({ name }) => name).join(", ")}; give those`,
    );
  }
  return { ...params, ...credentials };
}

/** The secret's name, where there is one that could be called an API key. */
function soleSecret({ recipe }: SealedConnection): string {
  const secrets = recipe.method.fields.filter(({ secret }) => secret);
  const [sole] = secrets;
  if (sole !== undefined && secrets.length === 1) return sole.name;
  throw new InvalidRequest(`apiKey: ${recipe.method.id} has several secrets; give credentials`);
}

/** In a time that tells nothing of where they differ. */
function isSame(candidate: Secrets, stored: Secrets): boolean {
  const digest = (secrets: Secrets) => createHash("sha256").update(textOf(secrets)).digest();
  return timingSafeEqual(digest(candidate), digest(stored));
}
