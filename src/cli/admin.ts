import type { Config } from "#src/config/config.ts";
import { KeyDestroyed } from "#src/crypto/errors.ts";
import { rewrapOrgKeys, rewrapServiceKeys } from "#src/crypto/rewrap.ts";
import { createKeyRotation, type FinishedRotation } from "#src/crypto/rotation.ts";
import { SealBroken } from "#src/crypto/seal.ts";
import { openConnection } from "#src/db/connection.ts";
import { sealedColumns } from "#src/sealed-columns.ts";
import { findOrganizationId, openForCommand } from "./administer.ts";
import { createLog, fileDescriptor } from "./log.ts";
import type { Runtime } from "./runtime.ts";

/** `patchbay admin rotate-kek`: a line for each organisation; answers whether all earlier keys are destroyed. */
export async function rotateKeys(
  config: Config,
  { orgId, all }: { readonly orgId: string | undefined; readonly all: boolean },
): Promise<boolean> {
  if (all && orgId !== undefined) throw new Error("--all: give it or --org, not both");
  await using runtime = await openForCommand(config);
  const log = createLog("warn", fileDescriptor(2));
  const rotation = createKeyRotation({ ...runtime, sealedColumns, log, now: () => new Date() });
  const orgIds = all ? await livingOrganizations(runtime) : [await findOrganizationId(runtime, orgId)];
  let isOver = true;
  const isEach = await forEach(orgIds, async (one) => {
    const { isNew } = await rotation.start(one);
    const finished = await rotation.finish(one);
    isOver &&= finished.remaining.length === 0;
    process.stdout.write(`${one}  ${describe(finished, isNew)}\n`);
    for (const record of finished.unopened) process.stderr.write(`  does not open: ${record}\n`);
  });
  return isOver && isEach;
}

/**
 * Does the work for each organisation; answers whether it was done for all. That the key of one was changed in the
 * database keeps it from no other; a root key or a database that is away does.
 */
async function forEach(orgIds: readonly string[], work: (orgId: string) => Promise<void>): Promise<boolean> {
  let isEach = true;
  for (const orgId of orgIds) {
    try {
      await work(orgId);
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
  await using runtime = await openForCommand(config);
  const { rootKey, secondRootKey } = runtime;
  let keys = (await rewrapServiceKeys(runtime)).length;
  const isEach = await forEach(await livingOrganizations(runtime), async (orgId) => {
    keys += (await rewrapOrgKeys(runtime, orgId)).length;
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
  if (secondRootKey === undefined) return true;
  process.stderr.write(
    `${secondRootKey.id} wraps nothing any more: take it out of the settings of every replica. ` +
      "Keep it as long as you keep backups from before.\n",
  );
  return true;
}

async function livingOrganizations({ ownerUrl }: Runtime): Promise<string[]> {
  await using owner = openConnection(ownerUrl, { application_name: "patchbay" });
  const rows = await owner.run("select id from orgs where shredded_at is null order by id");
  return rows.map((row) => String(row["id"]));
}
