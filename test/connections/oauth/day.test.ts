import { afterAll, beforeAll, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { insertOAuthConnection, oauth2, startOAuth, type OAuthReplica } from "../../support/oauth-grants.ts";
import { startService, type TestService } from "../../support/service.ts";
import {
  answerJson,
  startStrangeAuthorizationServer,
  type StrangeAuthorizationServer,
} from "../../support/strange-authorization-server.ts";

const rootKey = newRootKeyText();
/** `OAUTH_GRANTS=1000` for the whole of it. */
const count = Number(process.env["OAUTH_GRANTS"] ?? 40);
const minuteMs = 60_000;
const stepMs = 30 * minuteMs;
/** In seconds: from a token that ends between two calls to one that outlives the day. */
const lifetimes = [300, 900, 3_600, 7_200, 28_800, 43_200, 172_800];

/** A grant, as the service that gave it knows it. */
interface Given {
  serial: number;
  isAlive: boolean;
  readonly expiresIn: number;
}

let service: TestService;
let server: StrangeAuthorizationServer;
let at = new Date();
let replicas: OAuthReplica[];
const given = new Map<string, Given>();
beforeAll(async () => {
  service = await startService({ rootKey });
  server = await startStrangeAuthorizationServer();
  const replica = () => startOAuth({ url: service.postgres.url, rootKey, now: () => at, poolSize: 16 });
  replicas = [replica(), replica()];
});
afterAll(async () => {
  for (const replica of replicas) await replica[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** Rotates, ends a grant whose spent token comes again, and fails now and then. */
function playService(): void {
  server.behave(({ form, nth }, response) => {
    const [id = "", serial] = (form.get("refresh_token") ?? "").split("#");
    const grant = given.get(id)!;
    // Before anything is done, as a service that is down does.
    if (nth % 17 === 0) return answerJson(response, 503, {});
    if (nth % 23 === 0) return answerJson(response, 429, { error: "slow_down" });
    if (!grant.isAlive || serial !== String(grant.serial)) {
      grant.isAlive = false;
      return answerJson(response, 400, { error: "invalid_grant" });
    }
    grant.serial += 1;
    return { ...tokensOf(id, grant), token_type: "bearer", expires_in: grant.expiresIn };
  });
}

const tokensOf = (id: string, { serial }: Given) => ({
  access_token: `at-${id}-${serial}`,
  refresh_token: `${id}#${serial}`,
});

async function giveGrants(): Promise<void> {
  const { orgId } = service.org;
  const method = oauth2({ tokenUrl: server.tokenUrl, keepAliveSeconds: 6 * 3_600 });
  for (let nth = 0; nth < count; nth += 1) {
    const id = await insertOAuthConnection(service.postgres, orgId, { method, status: "ACTIVE" });
    const grant: Given = { serial: 0, isAlive: true, expiresIn: lifetimes[nth % lifetimes.length]! };
    given.set(id, grant);
    const expiresAt = new Date(at.getTime() + grant.expiresIn * 1_000);
    const refreshAt = new Date(expiresAt.getTime() - Math.min(300, grant.expiresIn / 2) * 1_000);
    const { access_token: accessToken, refresh_token: refreshToken } = tokensOf(id, grant);
    await replicas[0]!.give(orgId, id, { accessToken, refreshToken }, { expiresAt, refreshAt });
  }
}

/** Some calls through the grant at once, on both replicas. Says how many were told to try again. */
async function callThrough(id: string): Promise<number> {
  let told = 0;
  const calls = replicas.map(async (replica) => {
    const known = await replica.find(service.org.orgId, id);
    try {
      const { accessToken } = await replica.tokensOf(await replica.refresh.fresh(known));
      expect(accessToken).toMatch(`at-${id}-`);
    } catch (error) {
      expect(error).toMatchObject({ reason: "REFRESH_FAILED" });
      told += 1;
    }
  });
  await Promise.all(calls);
  return told;
}

test(
  `of ${count} grants that live from minutes to days, a day of calls and failures loses none`,
  async () => {
    await giveGrants();
    playService();
    const ids = [...given.keys()];
    let calls = 0;
    let told = 0;
    const end = at.getTime() + 24 * 60 * minuteMs;
    for (let step = 0; at.getTime() < end; step += 1) {
      at = new Date(at.getTime() + stepMs);
      // A tenth is never called, and only kept alive.
      const called = ids.filter((_, nth) => nth % 10 !== 0 && (nth + step) % 3 === 0);
      for (let from = 0; from < called.length; from += 10) {
        const some = called.slice(from, from + 10);
        calls += 2 * some.length;
        for (const one of await Promise.all(some.map(callThrough))) told += one;
      }
      await replicas[step % 2]!.sweep.runOnce();
    }

    expect([...given.values()].filter(({ isAlive }) => !isAlive)).toEqual([]);
    const lost = await service.postgres.asOwner(
      "select id, status, status_reason from connections where status <> 'ACTIVE'",
    );
    expect(lost).toEqual([]);
    expect(calls).toBeGreaterThan(count);
    // The service failed about each tenth request; whoever came then was told to try again.
    expect(told).toBeLessThan(calls / 4);
  },
  count * 10_000,
);
