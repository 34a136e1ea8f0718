import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { openConnection } from "#src/db/connection.ts";
import { untilOneWaits } from "../../support/locks.ts";
import { insertOAuthConnection, oauth2, startOAuth, type OAuthReplica } from "../../support/oauth-grants.ts";
import { startService, type TestService } from "../../support/service.ts";
import {
  answerJson,
  startStrangeAuthorizationServer,
  type StrangeAuthorizationServer,
} from "../../support/strange-authorization-server.ts";
import { startRefresher } from "./storm.ts";

const rootKey = newRootKeyText();
const hourMs = 3_600_000;
/** `OAUTH_PROCESSES=4` for more. */
const processCount = Number(process.env["OAUTH_PROCESSES"] ?? 2);

let service: TestService;
let server: StrangeAuthorizationServer;
let at = new Date();
let one: OAuthReplica;
let other: OAuthReplica;
beforeAll(async () => {
  service = await startService({ rootKey });
  server = await startStrangeAuthorizationServer();
  const replica = () => startOAuth({ url: service.postgres.url, rootKey, now: () => at, exchangeMs: 1_500 });
  [one, other] = [replica(), replica()];
});
afterAll(async () => {
  await one[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

/** A connection whose access token ended a moment ago. */
async function endedGrant(more: Parameters<typeof oauth2>[0] = {}, lifeMs = -1000): Promise<string> {
  const { orgId } = service.org;
  const method = oauth2({ tokenUrl: server.tokenUrl, ...more });
  const id = await insertOAuthConnection(service.postgres, orgId, { method, status: "ACTIVE" });
  const ended = new Date(at.getTime() - 1000);
  const times = { expiresAt: new Date(at.getTime() + lifeMs), refreshAt: ended };
  await one.give(orgId, id, { accessToken: "at-0", refreshToken: "rt-0" }, times);
  return id;
}

const call = async (id: string, replica = one) =>
  replica.refresh.fresh(await replica.find(service.org.orgId, id));
const tokens = async (id: string) => one.tokensOf(await one.find(service.org.orgId, id));

async function statusOf(id: string) {
  const [row] = await service.postgres.asOwner(
    `select c.status, c.status_reason as reason, g.doubts, g.sent_version as sent, g.retry_at as retry
     from connections c join oauth_grants g on g.connection_id = c.id where c.id = $1`,
    [id],
  );
  return row!;
}

async function recorded(id: string): Promise<string[]> {
  const rows = await service.postgres.asOwner(
    "select details from audit_events where target = $1 and action = 'connection.refresh' order by seq",
    [id],
  );
  return rows.map(({ details }) => (JSON.parse(String(details)) as { outcome: string }).outcome);
}

describe("a token that is about to end", () => {
  test("is renewed before the call, and recorded with both hashes and no token", async () => {
    const grant = server.rotate();
    const id = await endedGrant();
    const fresh = await call(id);
    expect(await one.tokensOf(fresh)).toEqual({ accessToken: "at-1", refreshToken: "rt-1" });
    expect(fresh.credential?.expiresAt).toEqual(new Date(at.getTime() + hourMs));
    expect(grant.refreshes()).toBe(1);
    const rows = await service.postgres.asOwner("select details from audit_events where target = $1", [id]);
    expect(rows).toHaveLength(1);
    expect(String(rows[0]!["details"])).toMatch(
      /"tokenHash":\{"before":"sha256:[0-9a-f]{64}","after":"sha256:/,
    );
    expect(String(rows[0]!["details"])).not.toMatch(/[ar]t-[01]/);
  });

  test("and one that is not is used without asking the database", async () => {
    const grant = server.rotate();
    const id = await endedGrant();
    const fresh = await call(id);
    await using closed = startOAuth({ url: "postgres://nobody@127.0.0.1:9/none", rootKey, now: () => at });
    expect(await closed.refresh.fresh(fresh)).toBe(fresh);
    expect(grant.refreshes()).toBe(1);
  });

  test("keeps its refresh token where the answer has none", async () => {
    server.behave(() => ({ access_token: "at-new", token_type: "bearer", expires_in: 60 }));
    const id = await endedGrant({ refresh: "static" });
    await call(id);
    expect(await tokens(id)).toEqual({ accessToken: "at-new", refreshToken: "rt-0" });
  });

  test("is renewed once for all calls of all replicas, who all get the new one", async () => {
    const grant = server.rotate({ answerAfterMs: () => 200 });
    const id = await endedGrant();
    const calls = Array.from({ length: 20 }, (_, n) => call(id, n % 2 === 0 ? one : other));
    for (const fresh of await Promise.all(calls)) {
      expect((await one.tokensOf(fresh)).accessToken).toBe("at-1");
    }
    expect(grant.refreshes()).toBe(1);
    expect(grant.reuses()).toBe(0);
  });
});

describe("while a new token cannot be had", () => {
  test.each([503, 429])(
    "status %s: what is still good goes on being used, and the service has its rest",
    async (status) => {
      server.behave((_, response) => answerJson(response, status, {}));
      const id = await endedGrant({}, hourMs);
      const before = server.asked.length;
      for (let calls = 0; calls < 3; calls += 1) {
        expect((await one.tokensOf(await call(id))).accessToken).toBe("at-0");
      }
      expect(server.asked.length - before).toBe(1);
      expect(await statusOf(id)).toMatchObject({ status: "ACTIVE", sent: null });
    },
  );

  test("a call without a good token is told when to try again, and a later one succeeds", async () => {
    server.behave((_, response) => answerJson(response, 500, {}));
    const id = await endedGrant();
    await expect(call(id)).rejects.toMatchObject({
      reason: "REFRESH_FAILED",
      headers: { "retry-after": "2" },
      message: expect.stringContaining("answered with status 500"),
    });
    const grant = server.rotate();
    await expect(call(id)).rejects.toMatchObject({ reason: "REFRESH_FAILED" });
    at = new Date(at.getTime() + 2_000);
    expect((await one.tokensOf(await call(id))).accessToken).toBe("at-1");
    expect(grant.refreshes()).toBe(1);
  });

  test.each([
    [
      "HTML",
      (response: Parameters<typeof answerJson>[0]) =>
        response.writeHead(200, { "content-type": "text/html" }).end("<p>"),
    ],
    ["nothing", (response: Parameters<typeof answerJson>[0]) => response.writeHead(200).end()],
    [
      "a redirect",
      (response: Parameters<typeof answerJson>[0]) => response.writeHead(302, { location: "/" }).end(),
    ],
    [
      "an unknown client",
      (response: Parameters<typeof answerJson>[0]) => answerJson(response, 401, { error: "invalid_client" }),
    ],
  ])("%s does not end a grant", async (_, answer) => {
    server.behave((_asked, response) => void answer(response));
    const id = await endedGrant();
    await expect(call(id)).rejects.toMatchObject({ reason: "REFRESH_FAILED" });
    expect(await statusOf(id)).toMatchObject({ status: "ACTIVE" });
    expect(await tokens(id)).toMatchObject({ refreshToken: "rt-0" });
  });
});

test("tokens that were given are not lost to a database that fails for a moment", async () => {
  const { postgres } = service;
  server.behave(async () => {
    await postgres.asOwner("alter table oauth_grants rename to oauth_grants_gone");
    setTimeout(() => void postgres.asOwner("alter table oauth_grants_gone rename to oauth_grants"), 700);
    return { access_token: "at-kept", refresh_token: "rt-kept", token_type: "bearer", expires_in: 60 };
  });
  const id = await endedGrant();
  expect((await one.tokensOf(await call(id))).accessToken).toBe("at-kept");
  expect(await tokens(id)).toEqual({ accessToken: "at-kept", refreshToken: "rt-kept" });
  expect(await recorded(id)).toEqual(["REFRESHED"]);
});

test("a grant that the service ended needs a person, and says how", async () => {
  server.behave((_, response) =>
    answerJson(response, 400, { error: "invalid_grant", error_description: "gone" }),
  );
  const id = await endedGrant({}, hourMs);
  const needed = {
    reason: "AUTHORIZATION_NEEDED",
    message: expect.stringContaining(`POST /api/connections/${id}/authorize`),
  };
  await expect(call(id)).rejects.toMatchObject(needed);
  const before = server.asked.length;
  await expect(call(id)).rejects.toMatchObject(needed);
  expect(server.asked).toHaveLength(before);
  expect(await statusOf(id)).toMatchObject({
    status: "NEEDS_REAUTH",
    reason: expect.stringContaining("invalid_grant, gone"),
  });
  expect(await recorded(id)).toEqual(["FAILED"]);
  const types = ["connection.needs_reauth"];
  const { events } = await service.org.client.events.listEvents({ log: "audit", types });
  expect(events.map(({ subject }) => subject)).toEqual([id]);
});

describe("a refresh whose answer never came", () => {
  test("is in doubt, is tried once more, and that is recorded before", async () => {
    server.behave(() => undefined);
    const id = await endedGrant();
    await expect(call(id)).rejects.toMatchObject({ reason: "REFRESH_FAILED" });
    expect(await statusOf(id)).toMatchObject({ status: "REFRESH_IN_DOUBT", doubts: 1, sent: 1 });
    server.rotate();
    expect((await one.tokensOf(await call(id))).accessToken).toBe("at-1");
    expect(await statusOf(id)).toMatchObject({ status: "ACTIVE", reason: null, doubts: 0, sent: null });
    expect(await recorded(id)).toEqual(["FAILED", "IN_DOUBT", "REFRESHED"]);
  });

  test("and once more only", async () => {
    server.behave(() => undefined);
    const id = await endedGrant();
    const before = server.asked.length;
    await expect(call(id)).rejects.toMatchObject({ reason: "REFRESH_FAILED" });
    await expect(call(id)).rejects.toMatchObject({ reason: "AUTHORIZATION_NEEDED" });
    await expect(call(id)).rejects.toMatchObject({ reason: "AUTHORIZATION_NEEDED" });
    expect(server.asked.length - before).toBe(2);
    expect(await statusOf(id)).toMatchObject({ status: "NEEDS_REAUTH" });
  });

  test("is no doubt where the refresh token is good again and again", async () => {
    server.behave(() => undefined);
    const id = await endedGrant({ refresh: "static" });
    await expect(call(id)).rejects.toMatchObject({ reason: "REFRESH_FAILED" });
    expect(await statusOf(id)).toMatchObject({ status: "ACTIVE", sent: null, doubts: 0 });
  });
});

describe("a token that the service refused", () => {
  const refused = async (id: string) => one.refresh.refreshed(await one.find(service.org.orgId, id));

  test("is renewed once, and not again if the new one is refused too", async () => {
    const grant = server.rotate();
    const id = await endedGrant({}, hourMs);
    const renewed = await refused(id);
    expect((await one.tokensOf(renewed!)).accessToken).toBe("at-1");
    expect(await refused(id)).toBeUndefined();
    at = new Date(at.getTime() + 61_000);
    expect(await refused(id)).toBeDefined();
    expect(grant.refreshes()).toBe(2);
  });

  test("is not renewed if another call did that meanwhile", async () => {
    const grant = server.rotate();
    const id = await endedGrant({}, hourMs);
    const old = await one.find(service.org.orgId, id);
    await call(id);
    const renewed = await other.refresh.refreshed(old);
    expect((await one.tokensOf(renewed!)).accessToken).toBe("at-1");
    expect(grant.refreshes()).toBe(1);
  });

  test("and that the service gave no refresh token for is no reason to end the grant", async () => {
    const id = await endedGrant({}, hourMs);
    await one.give(
      service.org.orgId,
      id,
      { accessToken: "at-0" },
      { expiresAt: new Date(at.getTime() + hourMs) },
    );
    const before = server.asked.length;
    expect(await refused(id)).toBeUndefined();
    expect(server.asked).toHaveLength(before);
    const [row] = await service.postgres.asOwner("select status from connections where id = $1", [id]);
    expect(row).toEqual({ status: "ACTIVE" });
  });

  test("stays refused where there is no way to another", async () => {
    const id = await endedGrant({ refresh: "none" });
    expect(await refused(id)).toBeUndefined();
  });
});

test("a call that waited for another to store the new token does not see the spent one", async () => {
  const id = await endedGrant();
  const old = await one.find(service.org.orgId, id);
  await service.postgres.asOwner(
    "insert into oauth_grants (org_id, connection_id, requested_scopes) values ($1, $2, '{}')",
    [service.org.orgId, id],
  );
  const before = server.asked.length;
  await using storing = openConnection(service.postgres.url, {});
  await storing.run("begin");
  await storing.run("select from oauth_grants where connection_id = $1 for update", [id]);
  const waiting = one.refresh.fresh(old);
  await untilOneWaits(service.postgres);
  await storing.run("update credentials set version = 2 where connection_id = $1", [id]);
  await storing.run("commit");
  expect((await waiting).credential?.version).toBe(2);
  expect(server.asked).toHaveLength(before);
});

test("a call while its connection is deleted asks the service nothing, and says that only a person can help", async () => {
  const id = await endedGrant();
  const old = await one.find(service.org.orgId, id);
  const before = server.asked.length;
  await using deleting = openConnection(service.postgres.url, {});
  await deleting.run("begin");
  await deleting.run("delete from connections where id = $1", [id]);
  const calling = one.refresh.fresh(old).catch((error: unknown) => error);
  await untilOneWaits(service.postgres);
  await deleting.run("commit");
  expect(await calling).toMatchObject({ reason: "AUTHORIZATION_NEEDED" });
  expect(server.asked).toHaveLength(before);
});

test("a caller that leaves does not end the refresh", async () => {
  const grant = server.rotate({ answerAfterMs: () => 300 });
  const id = await endedGrant();
  const before = server.asked.length;
  const leaving = call(id);
  await expect.poll(() => server.asked.length).toBe(before + 1);
  // It waits for what is under way, and nothing else does any more.
  await one.refresh.close();
  expect(grant.refreshes()).toBe(1);
  expect(await tokens(id)).toMatchObject({ accessToken: "at-1" });
  await leaving;
});

describe("several processes", () => {
  async function refreshers(id: string, count: number) {
    const what = { url: service.postgres.url, rootKey, orgId: service.org.orgId, id };
    return Promise.all(Array.from({ length: count }, () => startRefresher(what)));
  }

  test("with 25 calls each, on a grant that rotates and is slow at times: no call fails, and the grant lives", async () => {
    const grant = server.rotate({ answerAfterMs: (nth) => (nth % 4 === 0 ? 600 : 5) });
    const id = await endedGrant();
    const processes = await refreshers(id, processCount);
    try {
      for (let hour = 1; hour <= 6; hour += 1) {
        const now = new Date(at.getTime() + hour * 2 * hourMs);
        const ends = (await Promise.all(processes.map((one) => one.round(25, now)))).flat();
        expect(ends).toHaveLength(25 * processCount);
        expect(ends.filter((end) => end !== `at-${hour}`)).toEqual([]);
      }
      expect({ refreshes: grant.refreshes(), reuses: grant.reuses(), alive: grant.isAlive() }).toEqual({
        refreshes: 6,
        reuses: 0,
        alive: true,
      });
    } finally {
      await Promise.all(processes.map((one) => one.end()));
    }
  });

  test("of which one is killed in the middle: a spent token is not sent again before that is recorded", async () => {
    const id = await endedGrant();
    const asked = Promise.withResolvers<void>();
    server.behave(() => asked.resolve());
    const [victim] = await refreshers(id, 1);
    victim!.round(1, at).catch(() => {});
    await asked.promise;
    await victim!.kill();
    const before = server.asked.length;
    expect(await statusOf(id)).toMatchObject({ sent: 1 });
    // The service had spent it.
    server.behave((_, response) => answerJson(response, 400, { error: "invalid_grant" }));
    await service.postgres.asOwner("update oauth_grants set lease_until = now() - interval '1 second'");
    await expect(call(id)).rejects.toMatchObject({ reason: "AUTHORIZATION_NEEDED" });
    expect(server.asked.length - before).toBe(1);
    expect(await recorded(id)).toEqual(["IN_DOUBT", "FAILED"]);
    expect(await statusOf(id)).toMatchObject({ status: "NEEDS_REAUTH" });
  });
});
