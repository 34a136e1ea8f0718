import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { append } from "#src/audit/append.ts";
import { foundOrganization } from "#src/cli/found-organization.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";
import { newId } from "#src/platform/ids.ts";
import { openLogs, type OpenedLogs } from "../../support/open-logs.ts";

/** Logs on an embedded Postgres with its usual settings, fsync among them. */
export interface BenchLogs extends AsyncDisposable {
  readonly url: string;
  readonly dataDir: string;
  readonly orgId: string;
  readonly rootKeyText: string;
  replica(): Promise<OpenedLogs>;
  newLogs(count: number): Promise<string[]>;
}

export const log = pino({ level: "silent" });
const now = () => new Date();
const kept = { retentionSeconds: 7 * 86_400, dedupSeconds: 7 * 86_400 };

/** Starts a Postgres with logs in it. */
export async function startLogs(
  folder?: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<BenchLogs> {
  const dataDir = folder ?? (await mkdtemp(join(tmpdir(), "patchbay-bench-")));
  const closing = new AsyncDisposableStack();
  closing.defer(() => rm(dataDir, { recursive: true }));
  const postgres = await startEmbeddedPostgres({ dataDir, log, settings });
  closing.defer(() => postgres.stop());
  const { url } = postgres;
  await migrate({ url, log });
  const rootKeyText = newRootKeyText();
  const rootKey = localRootKey(rootKeyText);

  const replica = async () =>
    closing.use(await openLogs({ url, rootKey, now, poolSize: 8, eventStorageMib: 1_000_000 }));
  const { database, keyring, eventLog } = await replica();
  const { admin } = await foundOrganization({ database, rootKey }, "sandbox", "bench");
  const { orgId } = admin;
  return {
    ...{ url, dataDir, orgId, rootKeyText, replica },
    async newLogs(count) {
      await eventLog.prepare(kept);
      const ids = Array.from({ length: count }, () => newId("chn", now()));
      // All in one transaction would take longer than a transaction may.
      for (let from = 0; from < count; from += 100) {
        await keyring.sealing(orgId, (sealer) =>
          database.change(orgId, async (tx) => {
            for (const id of ids.slice(from, from + 100)) await eventLog.create(sealer, tx, orgId, id, kept);
            await append(tx, "service", { action: "channel.create", target: orgId, details: {} });
          }),
        );
      }
      return ids;
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}
