import { constants, createServer } from "node:http2";
import type { Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Guard, Verdict } from "#src/client/guard/guard.ts";
import { newUser } from "./failure-modes.ts";
import { type Sibling, startSibling } from "./sibling.ts";
import { layWire, type Wire } from "./wire.ts";

let sibling: Sibling;
beforeAll(async () => {
  sibling = await startSibling();
});
afterAll(() => sibling[Symbol.asyncDispose]());

const boundMs = 5_000;

describe.concurrent("a guard", () => {
  test("hears of a revocation within a second, while it answers from what it remembers", async () => {
    const { id, secret } = await sibling.newKey();
    const { guard, calls } = await watchedGuard();
    await remembers(guard, secret, calls);
    const { apiKeys } = sibling.service.org.client;
    const revoked = apiKeys.revokeApiKey({ id }).then(() => performance.now());
    let served = 0;
    while ((await guard.verify({ key: secret })).principal !== undefined) {
      served += 1;
      await turn();
    }
    const refusedAt = performance.now();
    // It takes milliseconds, and a busy machine longer; by the bound alone it would take five seconds.
    expect(refusedAt - (await revoked)).toBeLessThan(3_000);
    // The last of them were served without asking, or this would say nothing of what is remembered.
    expect(served).toBeGreaterThan(calls.VerifyKey);
    expect((await guard.verify({ key: secret })).principal).toBeUndefined();
  });

  test("hears that a key lost a scope, its user or its secret", async () => {
    const actAsUserId = await newUser(sibling);
    const { id, secret } = await sibling.newKey({ scopes: ["rules:view", "cases:view"], actAsUserId });
    const { guard, calls } = await watchedGuard();
    const { apiKeys, directory } = sibling.service.org.client;
    await remembers(guard, secret, calls);
    const becomes = async (status: number, question: object, change: () => Promise<unknown>) => {
      const asked = { key: secret, ...question };
      expect((await guard.verify(asked)).principal).toBeDefined();
      await change();
      await vi.waitUntil(async () => statusOf(await guard.verify(asked)) === status, patience);
    };
    await becomes(403, { scopes: ["cases:view"] }, () =>
      apiKeys.updateApiKey({ id, scopes: ["rules:view"] }),
    );
    await becomes(422, { fourEyes: true }, () => directory.deactivateUser({ id: actAsUserId }));
    await becomes(401, {}, () => apiKeys.rotateApiKey({ id, graceSeconds: 0 }));
  });

  test("asks on every request while it cannot listen", async () => {
    const { id, secret } = await sibling.newKey();
    const problems: string[] = [];
    const deaf: Interceptor = (next) => async (call) => {
      if (call.method.name === "WatchRevocations") throw new Error("no streams through this proxy");
      return next(call);
    };
    const { guard, calls } = await watchedGuard({
      interceptors: [deaf],
      onError: ({ message }) => problems.push(message),
    });
    for (let i = 1; i <= 5; i++) {
      expect((await guard.verify({ key: secret })).principal).toBeDefined();
      expect(calls.VerifyKey).toBe(i);
    }
    await sibling.service.org.client.apiKeys.revokeApiKey({ id });
    expect(await guard.verify({ key: secret })).toMatchObject({ status: 401 });
    await vi.waitUntil(() => problems.length > 0, patience);
    expect(problems).toEqual([
      "patchbay guard: revocations cannot be watched, so every request asks Patchbay: [unknown] no streams through this proxy",
    ]);
  });

  test("asks again once it has heard nothing for 3 seconds, and listens anew", async () => {
    const { id, secret } = await sibling.newKey();
    let silent = false;
    let streams = 0;
    const silencing: Interceptor = (next) => async (call) => {
      const response = await next(call);
      if (!response.stream) return response;
      streams += 1;
      return { ...response, message: until(() => silent, response.message) };
    };
    const { guard, calls } = await watchedGuard({ interceptors: [silencing] });
    await remembers(guard, secret, calls);
    silent = true;
    const silentAt = performance.now();
    await sibling.service.org.client.apiKeys.revokeApiKey({ id });
    let servedAt = silentAt;
    while ((await guard.verify({ key: secret })).principal !== undefined) {
      servedAt = performance.now();
      await turn();
    }
    // The last word came up to half a second before the silence, or after, if it was on its way.
    expect(servedAt - silentAt).toBeLessThan(4_500);
    expect(servedAt - silentAt).toBeGreaterThan(1_000);
    silent = false;
    await vi.waitUntil(() => streams === 2, patience);
    const { secret: another } = await sibling.newKey();
    await remembers(guard, another, calls);
  });

  test.each([
    ["frozen", async (wire: Wire) => wire.freeze()],
    ["cut", (wire: Wire) => wire.cut()],
  ])(
    "lets nobody in on what it remembers beyond the bound when its wire is %s, and is back when that is",
    async (_, fail) => {
      await using wire = await layWire(sibling.service.url);
      const { id, secret } = await sibling.newKey();
      const { guard, calls } = await watchedGuard({ baseUrl: wire.url, onError: () => undefined });
      await remembers(guard, secret, calls);
      await fail(wire);
      const brokenAt = performance.now();
      await sibling.service.org.client.apiKeys.revokeApiKey({ id });
      let served = 0;
      let servedAt = brokenAt;
      let verdict = await guard.verify({ key: secret });
      while (verdict.principal !== undefined) {
        served += 1;
        servedAt = performance.now();
        await turn();
        verdict = await guard.verify({ key: secret });
      }
      expect(served).toBeGreaterThan(0);
      expect(servedAt - brokenAt).toBeLessThan(boundMs + 1_000);
      expect(verdict).toMatchObject(unavailable);
      expect(await guard.verify({ key: "" })).toMatchObject(unavailable);
      // What was open on a frozen wire stays dead, as behind a firewall that forgot it.
      await wire.mend();
      const isBack = async () => statusOf(await guard.verify({ key: secret })) === 401;
      await vi.waitUntil(isBack, patience);
      const { secret: another } = await sibling.newKey();
      expect((await guard.verify({ key: another })).principal).toBeDefined();
    },
  );

  test("asks once more when the question was turned away unread, as by a server that stops", async () => {
    let turnedAway = 0;
    const answer = connectNodeAdapter({
      routes: (router) =>
        router.service(VerificationService, {
          verifyKey: () => ({ valid: true, principal: { apiKeyId: "key_1" } }),
        }),
    });
    const stopping = createServer((request, response) => {
      if (turnedAway > 0 || !request.url.endsWith("/VerifyKey")) answer(request, response);
      else {
        turnedAway += 1;
        response.stream.close(constants.NGHTTP2_REFUSED_STREAM);
      }
    });
    const baseUrl = `http://${await sibling.serve(stopping)}`;
    const { guard, calls } = await watchedGuard({ baseUrl, onError: () => undefined });
    expect((await guard.verify({ key: "Bearer key" })).principal).toBeDefined();
    expect([turnedAway, calls.VerifyKey]).toEqual([1, 2]);
  });
});

const unavailable = { status: 503, body: `{"error":"keys cannot be verified right now; try again"}` };
/** Long enough for a machine that is busy with other work. */
const patience = { timeout: 50_000, interval: 5 };

/** A guard whose calls to Patchbay are counted. */
async function watchedGuard(options: Parameters<Sibling["newGuard"]>[0] = {}) {
  const calls = { VerifyKey: 0, WatchRevocations: 0 };
  const count: Interceptor = (next) => (call) => {
    calls[call.method.name as keyof typeof calls] += 1;
    return next(call);
  };
  const guard = await sibling.newGuard({
    ...options,
    interceptors: [count, ...(options.interceptors ?? [])],
  });
  return { guard, calls };
}

/** Until the guard answers about the key without asking. */
async function remembers(guard: Guard, key: string, calls: { VerifyKey: number }): Promise<void> {
  await vi.waitUntil(async () => {
    const before = calls.VerifyKey;
    const { principal } = await guard.verify({ key });
    return principal !== undefined && calls.VerifyKey === before;
  }, patience);
}

function statusOf(verdict: Verdict): number {
  return verdict.principal === undefined ? verdict.status : 200;
}

/** Lets everything else have its turn. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What comes until the condition holds; from then on nothing, as if the line were dead. */
async function* until<T>(isSilent: () => boolean, messages: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const message of messages) {
    if (!isSilent()) yield message;
  }
}
