import type { Config } from "#src/config/config.ts";
import { KeyDestroyed } from "#src/crypto/errors.ts";
import { rewrapOrgKeys, rewrapServiceKeys } from "#src/crypto/rewrap.ts";
import { createKeyRotation, type FinishedRotation } from "#src/crypto/rotation.ts";
import { SealBroken } from "#src/crypto/seal.ts";
import { openConnection } from "#src/db/connection.ts";
import { sealedColumns } from "#src/sealed-columns.ts";
import { findOrganizationId, openStored } from "./administer.ts";
import { createLog, fileDescriptor } from "./log.ts";
import type { Runtime } from "./runtime.ts";

/** `patchbay admin rotate-kek`: a line for each organisation; answers whether all earlier keys are destroyed. */
export async function rotateKeys(
  config: Config,
  { orgId, all }: { readonly orgId: string | undefined; readonly all: boolean },
): Promise<boolean> {
  if (all && orgId !== undefined) throw new Error("--all: give it or --org, not both");
  await using runtime = await openStored(config);
  const log = createLog("warn", fileDescriptor(2));
  const rotation = createKeyRotation({ ...runtime, sealedColumns, log, now: () => new Date() });
  const orgIds = all ? await livingOrganizations(runtime) : [await findOrganizationId(runtime, orgId)];
  return await forEach(orgIds, async (one) => {
    const { isNew } = await rotation.start(one);
    const finished = await rotation.finish(one);
    process.stdout.write(`${one}  ${describe(finished, isNew)}\n`);
    for (const record of finished.unopened) process.stderr.write(`  does not open: ${record}\n`);
    return finished.remaining.length === 0;
  });
}

/**
 * Does the work for each organisation, which answers whether it is over; answers whether it is for all. That the key of one was changed in the
 * database keeps it from no other; a root key or a database that is away does.
 */
async function forEach(
  orgIds: readonly string[],
  work: (orgId: string) => Promise<boolean>,
): Promise<boolean> {
  let isEach = true;
  for (const orgId of orgIds) {
    try {
      if (!(await work(orgId))) isEach = false;
    } catch (error) {
      const isDestroyed = error instanceof KeyDestroyed;
      if (!isDestroyed && !(error instanceof SealBroken)) throw error;
      isEach = false;
      process.stderr.write(
        `${orgId}  ${isDestroyed ? "its key is destroyed: there is nothing to do" : broken}\n`,
      );
    }
  }
  return isEach;
}

const broken =
  "a wrapped key of it does not open, as it was changed in the database: take org_keys from a backup, or shred the organisation";

function describe({ version, resealed, destroyed, remaining }: FinishedRotation, isNew: boolean): string {
  const begun = isNew ? "" : " (its rotation had begun before)";
  const sealed = `key ${version}${begun}, ${resealed} secrets sealed anew`;
  if (remaining.length > 0) {
    return `${sealed}, key ${remaining.join(" and ")} still in use: run this again, or store the secrets again that do not open`;
  }
  // Another process may have done it.
  return destroyed.length > 0 ? `${sealed}, key ${destroyed.join(" and ")} destroyed` : sealed;
}

/** `patchbay admin rewrap-root`: wraps everything anew, and says what is left to do; answers whether that is nothing. */
export async function rewrapRoot(config: Config): Promise<boolean> {
  await using runtime = await openStored(config);
  const { rootKey, secondRootKey } = runtime;
  let keys = (await rewrapServiceKeys(runtime)).length;
  const isEach = await forEach(await livingOrganizations(runtime), async (orgId) => {
    keys += (await rewrapOrgKeys(runtime, orgId)).length;
    return true;
  });
  await using owner = openConnection(runtime.ownerUrl, { application_name: "patchbay" });
  const rows = await owner.run("select root_key_id, wrapped from used_root_keys() order by root_key_id");
  process.stdout.write(`${keys} keys wrapped anew\n`);
  for (const row of rows) {
    process.stdout.write(`${String(row["root_key_id"])}  wraps ${String(row["wrapped"])} keys\n`);
  }
  const isOver = rows.every((row) => row["root_key_id"] === rootKey.id);
  // Why, was said.
  if (!isEach) return false;
  if (!isOver) throw new Error("keys are left that another root key wraps: run this again");
  process.stderr.write(`${nextStep(rootKey.id, secondRootKey?.id, keys)}\n`);
  return true;
}

/** Nothing was wrapped anew if all was done before, and if the two root keys were given the wrong way round. */
function nextStep(first: string, second: string | undefined, keys: number): string {
  if (second === undefined) {
    return `No second root key is given, and nothing needs one. To replace ${first}, give the new root key as the first one, and this one as the second.`;
  }
  const takeOut =
    "take it out of the settings of every replica. Keep it as long as you keep backups from before.";
  if (keys > 0) return `${second} wraps nothing any more: ${takeOut}`;
  return `${second} wraps nothing. If it is the old root key, ${takeOut} If it is the new one, exchange the two on every replica, and run this again.`;
}

async function livingOrganizations({ ownerUrl }: Runtime): Promise<string[]> {
  await using owner = openConnection(ownerUrl, { application_name: "patchbay" });
  const rows = await owner.run("select id from orgs where shredded_at is null order by id");
  return rows.map((row) => String(row["id"]));
}
