import { append } from "#src/audit/append.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import { sql } from "#src/db/drizzle.cjs";
import { rootKeyNamed, type RootKeyParts } from "./named-root-key.ts";
import { livingKeys, wrapContext } from "./org-keys.ts";
import { serviceKeys } from "./schema.ts";
import { serviceKeyContext } from "./service-keys.ts";

type Parts = RootKeyParts & { readonly database: Database };

/** Wraps the organisation's keys with the first root key that the second one wrapped; answers which versions. */
export async function rewrapOrgKeys(parts: Parts, orgId: string): Promise<readonly number[]> {
  const { database, rootKey } = parts;
  const keys = await database.read(orgId, (tx) => livingKeys(tx, orgId));
  const due = keys.filter(({ rootKeyId }) => rootKeyId !== rootKey.id);
  // The root key may take seconds: before the transaction, not inside.
  const rewrapped = await Promise.all(
    due.map(async (key) => ({ ...key, anew: await rewrap(parts, key, wrapContext(key)) })),
  );
  if (rewrapped.length === 0) return [];
  return database.change(orgId, async (tx) => {
    const versions: number[] = [];
    for (const { version, wrappedKey, anew } of rewrapped) {
      if (
        await stored(
          tx,
          sql`rewrap_org_key(${version}::integer, ${wrappedKey}::bytea, ${anew}::bytea, ${rootKey.id})`,
        )
      )
        versions.push(version);
    }
    if (versions.length === 0) return unchanged(versions);
    const details = { versions, rootKeyId: rootKey.id };
    await append(tx, "service", { action: "organization.rewrap_key", target: orgId, details });
    return versions;
  });
}

/** Wraps the deployment's own keys with the first root key that the second one wrapped; answers which. */
export async function rewrapServiceKeys(parts: Parts): Promise<readonly string[]> {
  const { database, rootKey } = parts;
  const keys = await database.system((tx) => tx.select().from(serviceKeys));
  const done: string[] = [];
  for (const key of keys) {
    if (key.rootKeyId === rootKey.id) continue;
    const { purpose, version, wrappedKey } = key;
    const anew = await rewrap(parts, key, serviceKeyContext(key));
    const isStored = await database.system((tx) =>
      stored(
        tx,
        sql`rewrap_service_key(${purpose}, ${version}::integer, ${wrappedKey}::bytea, ${anew}::bytea, ${rootKey.id})`,
      ),
    );
    if (isStored) done.push(`${purpose} ${version}`);
  }
  return done;
}

/** The same key, wrapped by the first root key. */
async function rewrap(
  parts: Parts,
  { rootKeyId, wrappedKey }: { readonly rootKeyId: string; readonly wrappedKey: Buffer },
  context: readonly string[],
): Promise<Buffer> {
  const { rootKey } = parts;
  const key = await rootKeyNamed(rootKeyId, parts).unwrap(wrappedKey, context);
  try {
    const anew = await rootKey.wrap(key, context);
    // What stood there is overwritten by it, and was the only copy.
    const again = await rootKey.unwrap(anew, context);
    const isSame = again.equals(key);
    again.fill(0);
    if (isSame) return anew;
    throw new Error(`the root key ${rootKey.id} does not unwrap what it wrapped: nothing was changed`);
  } finally {
    key.fill(0);
  }
}

async function stored(tx: Tx, call: ReturnType<typeof sql>): Promise<boolean> {
  const [row] = await tx.execute<{ stored: boolean }>(sql`select ${call} as stored`);
  return row?.stored === true;
}

/** Fails if a key is wrapped by a root key that is not configured: its organisation would fail at each call instead. */
export async function requireRootKeys(parts: Parts): Promise<void> {
  const used = await parts.database.system((tx) =>
    tx.execute<{ root_key_id: string }>(sql`select root_key_id from used_root_keys() order by root_key_id`),
  );
  for (const { root_key_id } of used) rootKeyNamed(root_key_id, parts);
}
