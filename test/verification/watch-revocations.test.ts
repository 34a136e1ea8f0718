import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import type { WatchRevocationsResponse } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { createRevocations, type Revocations } from "#src/verification/revocations.ts";
import { reasonOf } from "#src/client/node.ts";
import type { Listener } from "#src/db/notifications.ts";
import type { Database } from "#src/db/database.ts";
import type { Caller } from "#src/platform/caller.ts";
import { frame } from "../rpc/differential/calls.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

async function issue(service: TestService, scopes: string[], by: Presenter = service.org) {
  const { apiKey, secret } = await by.client.apiKeys.createApiKey({ name: "job", scopes });
  return { id: apiKey!.id, presenter: service.as(secret) };
}

/** What a listener hears, from its first message on. */
async function listen(presenter: Presenter) {
  const stop = new AbortController();
  const stream = presenter.client.verification.watchRevocations({}, { signal: stop.signal });
  const heard: WatchRevocationsResponse[] = [];
  const ended = (async () => {
    for await (const message of stream) heard.push(message);
  })().then(() => undefined, ConnectError.from);
  await vi.waitUntil(() => heard.length > 0);
  return { heard, ended, stop: () => stop.abort(), ids: () => heard.flatMap(({ apiKeyIds }) => apiKeyIds) };
}

test("a listener is told to forget all, then of each change of its organisation's keys, and that nothing happened", async () => {
  await using service = await startService();
  const stranger = await service.newOrganization("stranger");
  const guard = await issue(service, ["keys:verify"]);
  const job = await issue(service, ["a:view"]);
  const theirs = await issue(service, ["a:view"], stranger);
  const listener = await listen(guard.presenter);
  expect(listener.heard[0]).toMatchObject({ forgetAll: true, apiKeyIds: [] });

  await stranger.client.apiKeys.revokeApiKey({ id: theirs.id });
  await service.org.client.apiKeys.updateApiKey({ id: job.id, scopes: ["b:view"] });
  await service.org.client.apiKeys.rotateApiKey({ id: job.id });
  await service.org.client.apiKeys.revokeApiKey({ id: job.id });
  await vi.waitUntil(() => listener.ids().length > 0);
  const before = listener.heard.length;
  await vi.waitUntil(() => listener.heard.length > before + 1, { timeout: 50_000 });
  expect(new Set(listener.ids())).toStrictEqual(new Set([job.id]));
  expect(listener.heard.slice(1).some(({ forgetAll }) => forgetAll)).toBe(false);
  listener.stop();
  expect((await listener.ended)?.code).toBe(Code.Canceled);
});

test("who listens has nothing long to ask", async () => {
  await using service = await startService();
  const response = await fetch(
    `${service.url}/patchbay.verification.v1.VerificationService/WatchRevocations`,
    {
      method: "POST",
      headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/connect+json" },
      body: frame(Buffer.from(JSON.stringify({ surprise: "a".repeat(16 * 1024) }))),
    },
  );
  const answered = await response.text();
  expect(answered).toContain('"code":"resource_exhausted"');
  expect(answered).toContain("the message is larger than 16 KiB");
});

test("a stream ends when the listener's own key changes, and a revoked one cannot open another", async () => {
  await using service = await startService();
  const guard = await issue(service, ["keys:verify"]);
  const listener = await listen(guard.presenter);
  await service.org.client.apiKeys.revokeApiKey({ id: guard.id });
  const error = (await listener.ended)!;
  expect([error.code, reasonOf(error)]).toStrictEqual([Code.Unavailable, "WATCH_ENDED"]);
  await expect(async () => {
    for await (const _message of guard.presenter.client.verification.watchRevocations({})) break;
  }).rejects.toMatchObject({ code: Code.Unauthenticated });
});

test("a stream ends when the listener's own key expires", async () => {
  await using service = await startService();
  const seconds = BigInt(Math.floor(service.clock.now().getTime() / 1000) + 60);
  const { secret } = await service.org.client.apiKeys.createApiKey({
    name: "guard",
    scopes: ["keys:verify"],
    expiresAt: { seconds, nanos: 0 },
  });
  const listener = await listen(service.as(secret));
  service.clock.advance(60_000);
  expect(reasonOf(await listener.ended)).toBe("WATCH_ENDED");
});

test("a stream ends when the grace of the secret is over that opened it", async () => {
  await using service = await startService();
  const guard = await issue(service, ["keys:verify"]);
  await service.org.client.apiKeys.rotateApiKey({ id: guard.id, graceSeconds: 60 });
  const listener = await listen(guard.presenter);
  service.clock.advance(60_000);
  expect(reasonOf(await listener.ended)).toBe("WATCH_ENDED");
});

test("streams end when changes cannot be received, and open again when they can", async () => {
  await using postgres = await createTestDatabase();
  await using proxy = await startProxy(postgres.url);
  await using service = await startService({ postgres: { ...postgres, url: proxy.url } });
  const listener = await listen(service.org);
  await proxy.close();
  expect(reasonOf(await listener.ended)).toBe("WATCH_ENDED");
  const open = () => service.org.client.verification.watchRevocations({})[Symbol.asyncIterator]().next();
  await expect(open()).rejects.toMatchObject({ code: Code.Unavailable });
  await proxy.reopen();
  await vi.waitUntil(
    () =>
      open().then(
        () => true,
        () => false,
      ),
    { timeout: 50_000 },
  );
});

test("streams do not hold up a shutdown", async () => {
  const service = await startService();
  const listener = await listen(service.org);
  expect(await service.app.close(60_000)).toBe(true);
  expect(reasonOf(await listener.ended)).toBe("WATCH_ENDED");
  await service[Symbol.asyncDispose]();
});

describe("a stream is not opened", () => {
  const revocations = () => {
    const database = {
      listen: async (listener: Listener) => listener.listening(true),
    } as unknown as Database;
    return createRevocations({ database, now: () => new Date() });
  };
  const open = (by: Revocations, orgId: string) => {
    const via = { kind: "api_key", id: "key_1", boundUserId: undefined };
    const caller = { orgId, via, expiresAt: undefined } as Caller;
    return by.watch(caller, async () => undefined, new AbortController().signal)[Symbol.asyncIterator]();
  };

  test("beyond a thousand of one organisation, until one of them ends; others do not notice", async () => {
    const all = revocations();
    const streams = Array.from({ length: 1_000 }, () => open(all, "org_1"));
    await Promise.all(streams.map((stream) => stream.next()));
    // Calling again would not help, so it is not told as what passes by itself.
    await expect(open(all, "org_1").next()).rejects.toMatchObject({
      kind: "resource_exhausted",
      reason: "TOO_MANY_STREAMS",
      message:
        "your organisation has 1000 streams open, which is the most: close streams that are no longer read",
    });
    await open(all, "org_2").next();
    await streams[0]?.return?.();
    await open(all, "org_1").next();
  });

  test("once the service stops", async () => {
    const all = revocations();
    all.stop();
    await expect(open(all, "org_1").next()).rejects.toThrow(/the service stops/);
  });
});
