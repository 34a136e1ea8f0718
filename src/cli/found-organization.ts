import { sql } from "#src/db/drizzle.cjs";
import { detailsOf, newApiKey } from "#src/api-keys/new-api-key.ts";
import { insertKey } from "#src/api-keys/store.ts";
import { append } from "#src/audit/append.ts";
import { insertOrgKey, newOrgKey } from "#src/crypto/org-keys.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { unchanged, type Tx } from "#src/db/database.ts";
import { insertOrganization } from "#src/directory/store.ts";
import type { Caller, Environment } from "#src/platform/caller.ts";
import { newId } from "#src/platform/ids.ts";
import { scopeVocabulary } from "#src/pipeline/policy.ts";
import type { Runtime } from "./runtime.ts";

/** A new organisation, and its first key, whose secret is shown this once. */
export interface Founding {
  readonly admin: Caller;
  readonly secret: string;
}

type Parts = Pick<Runtime, "database" | "rootKey" | "secondRootKey">;

/** Makes an organisation with its own sealing key and an admin key that holds every scope. */
export async function foundOrganization(
  parts: Parts,
  environment: Environment,
  name: string,
): Promise<Founding> {
  const { orgId, insert } = await prepare(parts, environment, name);
  return parts.database.change(orgId, insert);
}

/**
 * The first start: makes an organisation unless there is already a key for this environment. `keep` gets
 * the secret before the commit: if the only key were lost, no caller could get in.
 */
export async function foundFirstOrganization(
  parts: Parts,
  environment: Environment,
  keep: (secret: string) => Promise<void>,
): Promise<Founding | undefined> {
  // The root key is asked only when an organisation is founded, and not at every start.
  if (!(await parts.database.system((tx) => isFirstStart(tx, environment)))) return undefined;
  const { orgId, insert } = await prepare(parts, environment, "My organisation");
  return parts.database.change<Founding | undefined>(orgId, async (tx) => {
    if (!(await isFirstStart(tx, environment))) return unchanged(undefined);
    const founding = await insert(tx);
    await keep(founding.secret);
    return founding;
  });
}

/** Whether there is no key yet. Locks out other first starts to the end of the transaction. */
async function isFirstStart(tx: Tx, environment: Environment): Promise<boolean> {
  const [row] = await tx.execute<{ first: boolean }>(sql`select begin_first_start(${environment}) as first`);
  return row?.first === true;
}

async function prepare({ database, rootKey, secondRootKey }: Parts, environment: Environment, name: string) {
  const at = new Date();
  const pepper = await loadPepper(database, rootKey, () => at, secondRootKey);
  const orgId = newId("org", at);
  const orgKey = await newOrgKey(rootKey, orgId, at);
  const { key, secret } = newApiKey(
    { orgId, name: "admin", environment, scopes: scopeVocabulary },
    pepper,
    at,
  );

  async function insert(tx: Tx): Promise<Founding> {
    await insertOrganization(tx, { id: orgId, name, createdAt: at });
    await insertOrgKey(tx, orgKey);
    await insertKey(tx, key);
    await append(tx, "service", { action: "organization.create", target: orgId, details: { name } });
    await append(tx, "service", { action: "api_key.create", target: key.id, details: detailsOf(key) });
    const { id, scopes } = key;
    const via = { kind: "api_key", id, boundUserId: undefined } as const;
    const unlimited = { connections: undefined, expiresAt: undefined, rateLimitPerMinute: undefined };
    const admin = { orgId, via, name: key.name, environment, userId: undefined, scopes, ...unlimited };
    return { admin, secret };
  }

  return { orgId, insert };
}
