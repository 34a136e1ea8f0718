import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createThrough, type ThroughRequest } from "#src/calls/through.ts";
import type { Connections, OpenConnection } from "#src/connections/connections.ts";
import { plainConnection } from "#src/connections/connection.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import type { Caller } from "#src/platform/caller.ts";
import { bearerToken } from "../support/credential.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { localNetwork } from "../outbound/network.ts";

let upstream: Upstream;
beforeAll(async () => {
  upstream = await startUpstream();
});
afterAll(() => upstream[Symbol.asyncDispose]());
beforeEach(() => upstream.answer({}));

const user: Caller = {
  orgId: "acme",
  environment: "sandbox",
  userId: undefined,
  via: { kind: "api_key", id: "key_1", boundUserId: undefined },
  name: "job",
  scopes: ["connections:use"],
  connections: undefined,
  expiresAt: undefined,
  rateLimitPerMinute: undefined,
};

/** A connection to the upstream as it would be opened, with this token, and what of it was wiped. */
function opened(token: string, wiped: string[], baseUrl = upstream.url): OpenConnection {
  const connection = {
    ...plainConnection,
    orgId: "acme",
    id: "scn_1",
    slug: "custom:bank",
    integration: "custom:bank",
    baseUrl,
    active: true,
    credential: {
      ...{ boundTo: baseUrl, version: 1, fingerprint: "", form: "token" as const, principalKeyId: undefined },
      ...{ sealed: { kekVersion: 1, bytes: Buffer.of() }, expiresAt: undefined, refreshAt: undefined },
    },
    ...{ wrappedKey: null, fallback: undefined, callerServiceSlug: undefined },
  } as const;
  const credential = { ...bearerToken(baseUrl, token), [Symbol.dispose]: () => void wiped.push(token) };
  return { connection, credential };
}

/** Calls through a connection that was opened, over a real client. */
function caller(
  options: {
    other?: string;
    baseUrl?: string;
    outbound?: Partial<Parameters<typeof createOutbound>[0]>;
  } = {},
) {
  const outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1"), ...options.outbound });
  const wiped: string[] = [];
  const noted: string[] = [];
  const connections: Pick<Connections, "open" | "another" | "use"> = {
    open: () => Promise.resolve(opened("first", wiped, options.baseUrl)),
    another: () => Promise.resolve(options.other === undefined ? undefined : opened(options.other, wiped)),
    use: {
      noteCall: () => void noted.push("call"),
      noteAnswer: (_, status) => void (status < 300 && noted.push("healthy")),
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
    },
  };
  const reflections = { note: () => void noted.push("reflected") };
  const through = createThrough({ connections, outbound, reflections, now: () => new Date() });
  const tries: number[] = [];
  return {
    wiped,
    noted,
    tries,
    call: (request: Partial<ThroughRequest> = {}) =>
      through(user, "custom:bank", {
        method: "GET",
        path: "/",
        headers: {},
        requestId: "req_1",
        onTry: (attempts) => void tries.push(attempts),
        ...request,
      }),
    [Symbol.asyncDispose]: () => outbound.close(),
  };
}

/** Answers the first requests so, in order, and then 200; what they were asked. */
function answering(...statuses: (number | { status: number; retryAfter: string })[]) {
  const from = upstream.asked.length;
  upstream.answer(() => {
    const next = statuses.shift() ?? 200;
    return typeof next === "number"
      ? { status: next }
      : { status: next.status, headers: { "retry-after": next.retryAfter } };
  });
  return {
    asked: () => upstream.asked.slice(from),
    authorizations: () => upstream.asked.slice(from).map(({ headers }) => headers.authorization),
  };
}

describe("a call that may be repeated", () => {
  test("is tried again until the service is there, and counts as one use of the connection", async () => {
    const service = answering(503, 502);
    await using bank = caller();
    expect(await bank.call()).toMatchObject({ reply: { status: 200 }, attempts: 3 });
    expect(service.asked()).toHaveLength(3);
    expect([bank.tries, bank.noted]).toStrictEqual([
      [1, 2, 3],
      ["call", "healthy"],
    ]);
  });

  test("is tried three times, and then its answer stands", async () => {
    const service = answering(503, 429, 504, 503);
    await using bank = caller();
    expect(await bank.call()).toMatchObject({ reply: { status: 504 }, attempts: 3 });
    expect(service.asked()).toHaveLength(3);
    expect(bank.noted).toStrictEqual(["call"]);
  });

  test("waits as long as the service asks for", async () => {
    answering({ status: 429, retryAfter: "1" });
    await using bank = caller();
    const startedAt = performance.now();
    expect(await bank.call()).toMatchObject({ reply: { status: 200 }, attempts: 2 });
    expect(performance.now() - startedAt).toBeGreaterThan(990);
  });

  test("is answered at once with what the service said if that asks for more than is left of the deadline", async () => {
    const service = answering({ status: 503, retryAfter: "9" });
    await using bank = caller();
    const { reply, attempts } = await bank.call({ timeoutMs: 8_000 });
    expect([reply.status, reply.headers["retry-after"], attempts]).toStrictEqual([503, "9", 1]);
    expect(service.asked()).toHaveLength(1);
  });

  test("ends at once when its caller leaves while it waits, and is not tried again", async () => {
    const service = answering({ status: 503, retryAfter: "9" });
    await using bank = caller();
    const leaving = new AbortController();
    const gone = new Error("the caller went away");
    const calling = bank.call({ signal: leaving.signal });
    await expect.poll(() => service.asked().length, { timeout: 10_000 }).toBe(1);
    leaving.abort(gone);
    await expect(calling).rejects.toBe(gone);
    expect(service.asked()).toHaveLength(1);
    expect(bank.wiped).toStrictEqual(["first"]);
  });

  test("holds no call slot while it waits", async () => {
    await using bank = caller({ outbound: { limits: { callsPerOrigin: 1, callsPerShare: 1 } } });
    const service = answering({ status: 503, retryAfter: "9" });
    const leaving = new AbortController();
    const waiting = bank.call({ signal: leaving.signal }).catch(() => "left");
    await expect.poll(() => service.asked().length, { timeout: 10_000 }).toBe(1);
    expect(await bank.call()).toMatchObject({ reply: { status: 200 }, attempts: 1 });
    leaving.abort();
    expect(await waiting).toBe("left");
  });

  test("has one deadline for all tries", async () => {
    await using bank = caller();
    const over = Promise.withResolvers<void>();
    let asked = 0;
    upstream.answer(async () => {
      if (++asked === 2) await over.promise;
      return { status: 503 };
    });
    await expect(bank.call({ timeoutMs: 2_000 })).rejects.toMatchObject({ reason: "UPSTREAM_TIMEOUT" });
    over.resolve();
    expect(asked).toBe(2);
  });
});

test("a call that the service may have carried out is not repeated", async () => {
  for (const request of [
    { method: "POST" },
    { method: "PUT" },
    { method: "PATCH" },
    { body: Buffer.alloc(1024 * 1024 + 1) },
  ]) {
    const service = answering(503);
    await using bank = caller();
    expect(await bank.call(request)).toMatchObject({ reply: { status: 503 }, attempts: 1 });
    expect(service.asked()).toHaveLength(1);
  }
});

describe("a service that breaks off", () => {
  /** Cuts the first connections once they have sent something, and answers others. */
  async function startBreaking(cuts: number) {
    const methods: string[] = [];
    const server = createServer((request, response) => {
      methods.push(request.method ?? "");
      if (methods.length <= cuts) request.socket.destroy();
      else response.end("ok");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return {
      methods,
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        server.close();
        await once(server, "close");
      },
    };
  }

  test("is asked again with GET", async () => {
    await using breaking = await startBreaking(1);
    await using bank = caller({ baseUrl: breaking.url });
    expect(await bank.call()).toMatchObject({ reply: { status: 200 }, attempts: 2 });
    expect(breaking.methods).toStrictEqual(["GET", "GET"]);
  });

  test("is never sent a second POST", async () => {
    await using breaking = await startBreaking(1);
    await using bank = caller({ baseUrl: breaking.url });
    await expect(bank.call({ method: "POST" })).rejects.toMatchObject({ reason: "UPSTREAM_UNREACHABLE" });
    expect(breaking.methods).toStrictEqual(["POST"]);
  });

  test("gets a POST once it can be connected to", async () => {
    const { connect } = localNetwork();
    let refused = 0;
    const outbound = {
      connect: (options: Parameters<typeof connect>[0]) =>
        connect(refused++ < 2 ? { ...options, port: 1 } : options),
    };
    const service = answering();
    await using bank = caller({ outbound });
    expect(await bank.call({ method: "POST" })).toMatchObject({ reply: { status: 200 }, attempts: 3 });
    expect(service.asked().map(({ method }) => method)).toStrictEqual(["POST"]);
    expect(bank.noted).toStrictEqual(["call", "healthy"]);
  });
});

describe("after a 401, a call", () => {
  test.each(["GET", "POST", "DELETE"])(
    "of method %s is made once more with another credential",
    async (method) => {
      const service = answering(401);
      await using bank = caller({ other: "second" });
      expect(await bank.call({ method })).toMatchObject({ reply: { status: 200 }, attempts: 2 });
      expect(service.authorizations()).toStrictEqual(["Bearer first", "Bearer second"]);
      expect(bank.wiped.toSorted()).toStrictEqual(["first", "second"]);
    },
  );

  test("is made once more, too, if the service repeats the credential that it does not know", async () => {
    upstream.answer(({ headers }) =>
      headers.authorization === "Bearer first"
        ? { status: 401, body: `bad token: ${headers.authorization}` }
        : {},
    );
    await using bank = caller({ other: "second" });
    expect(await bank.call()).toMatchObject({ reply: { status: 200 }, attempts: 2 });
    expect(bank.noted).toStrictEqual(["call", "reflected", "healthy"]);
  });

  test("is made once more and not twice", async () => {
    const service = answering(401, 401, 401);
    await using bank = caller({ other: "second" });
    expect(await bank.call()).toMatchObject({ reply: { status: 401 }, attempts: 2 });
    expect(service.asked()).toHaveLength(2);
  });

  test("stands if there is no other credential, or its body is too large to be sent twice", async () => {
    for (const [other, length] of [
      [undefined, 0],
      ["second", 1024 * 1024 + 1],
    ] as const) {
      const service = answering(401);
      await using bank = caller(other === undefined ? {} : { other });
      const body = Buffer.alloc(length);
      expect(await bank.call({ method: "POST", body })).toMatchObject({
        reply: { status: 401 },
        attempts: 1,
      });
      expect(service.asked()).toHaveLength(1);
    }
  });

  test("has what is left of its retries", async () => {
    const service = answering(503, 401, 503, 503);
    await using bank = caller({ other: "second" });
    expect(await bank.call()).toMatchObject({ reply: { status: 503 }, attempts: 4 });
    expect(service.authorizations()).toStrictEqual([
      "Bearer first",
      "Bearer first",
      "Bearer second",
      "Bearer second",
    ]);
  });
});
