import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { pino } from "pino";
import { append } from "#src/audit/append.ts";
import { createVerifyRecord } from "#src/audit/verify-record.ts";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { createDatabase, type Database } from "#src/db/database.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { DatabaseUnavailable } from "#src/db/errors.ts";
import { migrate } from "#src/db/migrate.ts";
import { orgs, users } from "#src/directory/schema.ts";
import { newId } from "#src/platform/ids.ts";

/** What the storm did and what it broke. */
interface StormFigures {
  readonly attempts: number;
  readonly kills: number;
  readonly committed: number;
  readonly rolledBack: number;
  readonly failed: number;
  readonly inDoubt: number;
  /** Acknowledged, and not there. */
  readonly lost: number;
  /** The row without its audit event, or the event without the row. */
  readonly torn: number;
  /** Rolled back or refused, and there all the same. */
  readonly wronglyCommitted: number;
  /** In another organisation than the one that wrote it. */
  readonly misattributed: number;
  readonly brokenChains: number;
  readonly uncaught: number;
  /** Failures that say something other than that the database is unavailable. */
  readonly unexpected: number;
  /** Workers whose last operation never ended. */
  readonly stuck: number;
}

type Outcome = "committed" | "rolledBack" | "failed" | "inDoubt" | "unexpected";

interface Attempt {
  readonly orgId: string;
  readonly outcome: Outcome;
}

/** Ends an attempt on purpose, after its statements. */
class OnPurpose extends Error {}

const log = pino({ level: "silent" });
const organisations = ["org_a", "org_b", "org_c", "org_d"];
const workers = 8;
const longestStormMs = 60_000;
// Longer than the deadlines for starting and for running an operation together.
const longestOperationMs = 20_000;

/**
 * Writes a row and its audit event over and over, through four connections and for four organisations, while the
 * backends behind them are killed at random. One transaction in seven rolls back on purpose.
 */
async function run(minimumKills: number, pauseMs: number): Promise<StormFigures> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-storm-"));
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  try {
    await migrate({ url: postgres.url, log });
    return await storm(postgres.url, minimumKills, pauseMs);
  } finally {
    await postgres.stop();
    await rm(dataDir, { recursive: true });
  }
}

async function storm(url: string, minimumKills: number, pauseMs: number): Promise<StormFigures> {
  const database = createDatabase({ url, log, poolSize: 4 });
  const owner = openConnection(url, { application_name: "storm" });
  for (const orgId of organisations) await createOrganisation(database, orgId);

  const journal = new Map<string, Attempt>();
  let uncaught = 0;
  const countUncaught = () => uncaught++;
  process.on("uncaughtException", countUncaught);
  let over = false;

  async function work(): Promise<void> {
    while (!over) {
      const id = newId("usr", new Date());
      const orgId = organisations[journal.size % organisations.length] ?? "";
      const outcome = await attempt(
        database,
        orgId,
        id,
        journal.size % 7 === 0,
        Math.random() < 0.5 ? pauseMs : 0,
      );
      journal.set(id, { orgId, outcome });
    }
  }

  const working = Array.from({ length: workers }, work);
  const kills = await killBackends(owner, minimumKills);
  over = true;
  let stuck = workers;
  const settled = Promise.all(working.map((worker) => worker.finally(() => stuck--)));
  await Promise.race([settled, sleep(longestOperationMs, undefined, { ref: false })]);
  process.off("uncaughtException", countUncaught);

  const brokenChains = stuck === 0 ? await countBrokenChains(database) : 0;
  const damage = await assess(owner, journal);
  if (stuck === 0) await database.close();
  await owner.end();
  const count = (outcome: Outcome) =>
    [...journal.values()].filter((attempt) => attempt.outcome === outcome).length;
  return {
    attempts: journal.size,
    kills,
    committed: count("committed"),
    rolledBack: count("rolledBack"),
    failed: count("failed"),
    inDoubt: count("inDoubt"),
    unexpected: count("unexpected"),
    ...damage,
    brokenChains,
    uncaught,
    stuck,
  };
}

async function createOrganisation(database: Database, orgId: string): Promise<void> {
  await database.change(orgId, async (tx) => {
    await tx.insert(orgs).values({ id: orgId, name: orgId });
    await append(tx, "service", { action: "org.create", target: orgId, details: {} });
  });
}

async function attempt(
  database: Database,
  orgId: string,
  id: string,
  onPurpose: boolean,
  pauseMs: number,
): Promise<Outcome> {
  try {
    await database.change(orgId, async (tx) => {
      await tx.insert(users).values({ orgId, id, email: `${id}@example.com` });
      if (pauseMs > 0) await sleep(pauseMs);
      await append(tx, "service", { action: "user.create", target: id, details: { id } });
      if (onPurpose) throw new OnPurpose();
    });
    return "committed";
  } catch (error) {
    if (error instanceof OnPurpose) return "rolledBack";
    if (!(error instanceof DatabaseUnavailable)) return "unexpected";
    return error.metadata["outcome"] === "unknown" ? "inDoubt" : "failed";
  }
}

async function killBackends(owner: Connection, minimum: number): Promise<number> {
  const end = performance.now() + longestStormMs;
  let kills = 0;
  while (kills < minimum && performance.now() < end) {
    await sleep(10 + Math.random() * 60);
    const killed = await owner.run(
      `select pg_terminate_backend(pid) from (
         select pid from pg_stat_activity where application_name = 'patchbay' order by random() limit 1) as victim`,
    );
    kills += killed.length;
  }
  return kills;
}

async function assess(owner: Connection, journal: ReadonlyMap<string, Attempt>) {
  const rows = await readTargets(owner, "select org_id, id from users");
  const events = await readTargets(
    owner,
    "select org_id, target from audit_events where action = 'user.create'",
  );
  const damage = { lost: 0, torn: 0, wronglyCommitted: 0, misattributed: 0 };
  for (const [id, { orgId, outcome }] of journal) {
    const there = rows.has(id) && events.has(id);
    if (rows.has(id) !== events.has(id)) damage.torn++;
    if (outcome === "committed" && !there) damage.lost++;
    if (outcome !== "committed" && outcome !== "inDoubt" && (rows.has(id) || events.has(id))) {
      damage.wronglyCommitted++;
    }
    if ((rows.get(id) ?? orgId) !== orgId || (events.get(id) ?? orgId) !== orgId) damage.misattributed++;
  }
  return damage;
}

async function readTargets(owner: Connection, query: string): Promise<Map<string, string>> {
  const rows = await owner.run(query, [], "arrays");
  return new Map(rows.map((row) => [String(row[1]), String(row[0])]));
}

async function countBrokenChains(database: Database): Promise<number> {
  const verifyRecord = createVerifyRecord(database);
  const verdicts = await Promise.all(organisations.map((orgId) => verifyRecord(orgId)));
  return verdicts.filter((verdict) => "fault" in verdict).length;
}

test("while the sessions of four organisations are ended at random, no transaction is lost, half, another's, or made though it was refused", async () => {
  const figures = await run(40, 15);
  expect(figures).toMatchObject({
    ...{ lost: 0, torn: 0, wronglyCommitted: 0, misattributed: 0, brokenChains: 0 },
    ...{ uncaught: 0, unexpected: 0, stuck: 0 },
  });
  expect(figures.kills).toBeGreaterThanOrEqual(40);
});
