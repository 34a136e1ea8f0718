import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { foundOrganization } from "#src/cli/found-organization.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { openConnection } from "#src/db/connection.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";
import { startRefresher } from "../connections/oauth/storm.ts";
import { insertOAuthConnection, oauth2, startOAuth } from "../support/oauth-grants.ts";
import { startStrangeAuthorizationServer } from "../support/strange-authorization-server.ts";

const processes = 4;
const callers = 25;
const rounds = 20;
const hourMs = 3_600_000;

/** What became of the calls, and of the grant. */
interface RefreshStormFigures {
  readonly calls: number;
  readonly failedCalls: number;
  readonly refreshes: number;
  /** A spent refresh token was presented, which ends the grant. */
  readonly reuses: number;
  readonly isAlive: boolean;
}

/**
 * Several processes call at once through one connection whose token has ended, over and over. Each refresh token is good
 * once, and every fourth answer is slow.
 */
export async function run(): Promise<RefreshStormFigures> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-refresh-storm-"));
  const log = pino({ level: "silent" });
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  try {
    await migrate({ url: postgres.url, log });
    return await storm(postgres.url);
  } finally {
    await postgres.stop();
    await rm(dataDir, { recursive: true });
  }
}

async function storm(url: string): Promise<RefreshStormFigures> {
  const rootKey = newRootKeyText();
  const at = new Date();
  await using server = await startStrangeAuthorizationServer();
  const grant = server.rotate({ answerAfterMs: (nth) => (nth % 4 === 0 ? 600 : 5) });
  const what = { url, rootKey, ...(await endedGrant(url, rootKey, server.tokenUrl, at)) };
  const started = await Promise.all(Array.from({ length: processes }, () => startRefresher(what)));
  const failures: string[] = [];
  try {
    for (let round = 1; round <= rounds; round += 1) {
      const now = new Date(at.getTime() + round * 2 * hourMs);
      const ends = (await Promise.all(started.map((one) => one.round(callers, now)))).flat();
      failures.push(...ends.filter((end) => end !== `at-${round}`));
    }
  } finally {
    await Promise.all(started.map((one) => one.end()));
  }
  return {
    calls: processes * callers * rounds,
    failedCalls: failures.length,
    refreshes: grant.refreshes(),
    reuses: grant.reuses(),
    isAlive: grant.isAlive(),
  };
}

/** A connection whose access token ended a moment ago. */
async function endedGrant(url: string, rootKey: string, tokenUrl: string, at: Date) {
  await using owner = openConnection(url, {});
  await using replica = startOAuth({ url, rootKey });
  const { database } = replica;
  const { admin } = await foundOrganization({ database, rootKey: localRootKey(rootKey) }, "sandbox", "storm");
  const { orgId } = admin;
  const wanted = { method: oauth2({ tokenUrl }), status: "ACTIVE" };
  const id = await insertOAuthConnection(
    { asOwner: (...statement) => owner.run(...statement) },
    orgId,
    wanted,
  );
  const ended = new Date(at.getTime() - 1000);
  await replica.give(
    orgId,
    id,
    { accessToken: "at-0", refreshToken: "rt-0" },
    { expiresAt: ended, refreshAt: ended },
  );
  return { orgId, id };
}
