import { once } from "node:events";
import http from "node:http";
import type http2 from "node:http2";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import {
  connectNodeAdapter,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { withAccessLog } from "#src/net/access-log.ts";
import { callOfRequest } from "#src/pipeline/request-call.ts";
import { createKeyShapes } from "#src/platform/key-shapes.ts";
import { loggablePath } from "#src/platform/loggable-path.ts";
import type { Handler } from "#src/platform/http.ts";
import {
  connectHttp2,
  disposableAgent,
  fetchHttp1,
  fetchHttp2,
  gate,
  recordingLog,
  startPort,
  write,
} from "./support.ts";

const key = "qe_sk_live_ABCDEFGHJKMNPQRSTVWXYZ0123456789";
const legacyPrefixes = ["qedi_", "bs_", "acme-internal_"];
/** The shortest that can be imported, and a long one. */
const legacy = ["qedi_a8f3c91e6d2", `bs_${"4b0c91e6d2aa57f3".repeat(3)}`] as const;

/** A port with an access log. Its clock advances 1.5 ms whenever it is read. */
async function startLogged(handler: Handler, trustedProxyHops = 0) {
  const { log, lines } = recordingLog();
  let time = 0;
  const port = await startPort({
    handler: withAccessLog(handler, {
      log,
      monotonicNow: () => (time += 1.5),
      trustedProxyHops,
      legacyPrefixes,
    }),
  });
  return {
    ...port,
    /** All lines, once every request is over. */
    async lines() {
      await port.drain(60_000);
      return lines;
    },
  };
}

const sayHello: Handler = (_request, response) => void response.end("hello");

describe("the line of a request", () => {
  test("says who asked what, how it ended and how long it took", async () => {
    await using port = await startLogged((request, response) => {
      const call = callOfRequest(request);
      call.rpc = "patchbay.apikeys.v1.ApiKeyService/WhoAmI";
      call.caller = {
        orgId: "org_1",
        via: { kind: "api_key", id: "key_1", boundUserId: undefined },
        userId: "usr_1",
        name: "",
        environment: "live",
        scopes: [],
        expiresAt: undefined,
        rateLimitPerMinute: undefined,
        connections: undefined,
      };
      response.statusCode = 201;
      response.end();
    });
    await fetch(`${port.origin}/api/auth/me?token=${key}`, {
      headers: { "x-request-id": "from-the-caller_1.2" },
    });
    expect(await port.lines()).toEqual([
      {
        level: 30,
        time: expect.any(Number),
        pid: expect.any(Number),
        hostname: expect.any(String),
        msg: "request",
        requestId: "from-the-caller_1.2",
        method: "GET",
        path: "/api/auth/me",
        http: "1.1",
        protocol: "rest",
        status: 201,
        rpc: "patchbay.apikeys.v1.ApiKeyService/WhoAmI",
        orgId: "org_1",
        apiKeyId: "key_1",
        userId: "usr_1",
        latencyMs: 1.5,
        remoteAddress: "127.0.0.1",
      },
    ]);
  });

  test("is one for each request of a connection, over either protocol", async () => {
    await using port = await startLogged(sayHello);
    using agent = disposableAgent();
    for (let i = 0; i < 3; i++) await fetchHttp1(port.origin, agent);
    using session = connectHttp2(port.origin);
    for (let i = 0; i < 3; i++) await fetchHttp2(session);
    expect((await port.lines()).map(({ http }) => http)).toEqual(["1.1", "1.1", "1.1", "2", "2", "2"]);
  });

  test("is one for each request of a pipeline that was cut", async () => {
    const arrived = gate();
    let begun = 0;
    await using port = await startLogged(() => {
      begun += 1;
      if (begun === 3) arrived.open();
    });
    using client = await port.connect();
    await client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3));
    await arrived.opened;
    client[Symbol.dispose]();
    const lines = await port.lines();
    expect(lines.map(({ status, cut }) => ({ status, cut }))).toEqual(
      Array(3).fill({ status: undefined, cut: true }),
    );
  });

  test("says when the client went away before the end of its answer", async () => {
    const begun = [gate(), gate()] as const;
    await using port = await startLogged((request, response) => {
      write(response, "half");
      begun[request.httpVersionMajor === 1 ? 0 : 1].open();
    });
    const request = http.get(port.origin).on("error", () => {});
    using session = connectHttp2(port.origin);
    session.request({ ":path": "/" }).on("error", () => {});
    await Promise.all(begun.map(({ opened }) => opened));
    request.destroy();
    session.destroy();
    expect(await port.lines()).toMatchObject([
      { status: 200, cut: true },
      { status: 200, cut: true },
    ]);
  });

  test("is no error if the client went away before it had seen one", async () => {
    const begun = gate();
    await using port = await startLogged((_request, response) => {
      response.statusCode = 503;
      write(response, "half");
      begun.open();
    });
    const request = http.get(port.origin).on("error", () => {});
    await begun.opened;
    request.destroy();
    expect(await port.lines()).toMatchObject([{ status: 503, cut: true, level: 30 }]);
  });

  test("comes for a HEAD request that was cut before its answer", async () => {
    const arrived = gate();
    await using port = await startLogged(arrived.open);
    using session = connectHttp2(port.origin);
    session.request({ ":path": "/", ":method": "HEAD" }).on("error", () => {});
    await arrived.opened;
    session.destroy();
    expect(await port.lines()).toMatchObject([{ method: "HEAD", cut: true }]);
  });
});

describe("the line of an RPC", () => {
  const rpc = "patchbay.apikeys.v1.ApiKeyService/WhoAmI";

  function startRpc(outcome?: Code) {
    const handler = connectNodeAdapter({
      routes: (router) =>
        router.service(ApiKeyService, {
          whoAmI: () => {
            if (outcome === undefined) return {};
            throw new ConnectError("as told", outcome);
          },
        }),
    });
    return startLogged((request, response) => {
      callOfRequest(request).rpc = rpc;
      handler(request, response);
    });
  }

  test.each(["grpc", "grpc-web", "connect"] as const)("names the protocol %s", async (protocol) => {
    const transports = {
      grpc: (baseUrl: string) => createGrpcTransport({ baseUrl }),
      "grpc-web": (baseUrl: string) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
      connect: (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: "2" }),
    };
    await using port = await startRpc();
    await createClient(ApiKeyService, transports[protocol](port.origin)).whoAmI({});
    expect(await port.lines()).toMatchObject([{ protocol, status: 200, path: `/${rpc}`, rpc, level: 30 }]);
  });

  test.each([
    ["success", undefined, { grpcStatus: 0, level: 30 }],
    ["a refusal", Code.PermissionDenied, { grpcStatus: 7, level: 30 }],
    ["an unknown method", Code.Unimplemented, { grpcStatus: 12, level: 30 }],
    ["a fault of ours", Code.Internal, { grpcStatus: 13, level: 50 }],
    ["a lost database", Code.Unavailable, { grpcStatus: 14, level: 40 }],
  ])("has the gRPC status of %s, which HTTP calls 200", async (_, outcome, expected) => {
    await using port = await startRpc(outcome);
    const calling = createClient(ApiKeyService, createGrpcTransport({ baseUrl: port.origin })).whoAmI({});
    await calling.catch(() => {});
    expect(await port.lines()).toMatchObject([{ protocol: "grpc", status: 200, ...expected }]);
  });

  test("has the gRPC status of a stream that failed on its way", async () => {
    const handler = connectNodeAdapter({
      routes: (router) =>
        router.service(Health, {
          async *watch() {
            yield { status: 1 };
            throw new ConnectError("lost", Code.DataLoss);
          },
        }),
    });
    await using port = await startLogged(handler);
    const client = createClient(Health, createGrpcTransport({ baseUrl: port.origin }));
    const watching = (async () => {
      for await (const _ of client.watch({}));
    })();
    await expect(watching).rejects.toMatchObject({ code: Code.DataLoss });
    expect(await port.lines()).toMatchObject([{ grpcStatus: 15 }]);
  });
});

test.each([
  ["/healthz", 200, 20],
  ["/readyz", 503, 20],
  ["/grpc.health.v1.Health/Check", 200, 20],
  ["/api/auth/me", 200, 30],
  ["/api/auth/me", 404, 30],
  ["/api/auth/me", 500, 50],
  ["/api/auth/me", 503, 40],
])("the line of %s with status %i has level %i", async (path, status, level) => {
  await using port = await startLogged((_request, response) => {
    response.statusCode = status;
    response.end();
  });
  await fetch(port.origin + path);
  expect(await port.lines()).toMatchObject([{ path, status, level }]);
});

describe("the request id", () => {
  test("is the caller's own, echoed", async () => {
    await using port = await startLogged(sayHello);
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":path": "/", "x-request-id": "mine" });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    stream.resume();
    expect(headers["x-request-id"]).toBe("mine");
    expect(await port.lines()).toMatchObject([{ requestId: "mine" }]);
  });

  test.each([
    "",
    "two words",
    "a".repeat(65),
    'quo"te',
    "comma,ted",
    key,
    `x.${key}`,
    key.toUpperCase(),
    ...legacy,
    `job-${legacy[0]}`,
    `job_${legacy[0].toUpperCase()}`,
    "acme-internal_12",
  ])("is a new one instead of %j", async (given) => {
    await using port = await startLogged(sayHello);
    const response = await fetch(port.origin, { headers: { "x-request-id": given } });
    const echoed = response.headers.get("x-request-id");
    expect(echoed).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    expect(await port.lines()).toMatchObject([{ requestId: echoed }]);
  });

  test.each(["jobs_0123456789abcdef", "bs_short", "qedi", "acme-internal"])(
    "may be %s, which only begins or ends like a key",
    async (given) => {
      await using port = await startLogged(sayHello);
      const response = await fetch(port.origin, { headers: { "x-request-id": given } });
      expect(response.headers.get("x-request-id")).toBe(given);
    },
  );

  test("is a new one for each request without", async () => {
    await using port = await startLogged(sayHello);
    await Promise.all([fetch(port.origin), fetch(port.origin)]);
    const [first, second] = await port.lines();
    expect(first?.["requestId"]).not.toBe(second?.["requestId"]);
  });
});

test.each([
  ["none", "", 0],
  ["one", "Authorization: Bearer a\r\n", 1],
  ["two, of which Node shows the first", "Authorization: Bearer a\r\nauthorization: Bearer b\r\n", 2],
])("a call knows how many authorization lines came: %s", async (_, lines, expected) => {
  await using port = await startLogged((request, response) => {
    response.end(`lines: ${callOfRequest(request).authorizationLines}`);
  });
  using client = await port.connect();
  await client.send(`GET / HTTP/1.1\r\nhost: a\r\n${lines}connection: close\r\n\r\n`);
  expect((await client.closed()).toString()).toMatch(new RegExp(`lines: ${expected}$`));
});

test("a request that did not come in through the access log has no call", async () => {
  let seen: unknown;
  await using port = await startPort({
    handler: (request, response) => {
      try {
        callOfRequest(request);
      } catch (error) {
        seen = error;
      }
      response.end();
    },
  });
  await fetchHttp1(port.origin);
  expect(seen).toMatchObject({ message: expect.stringContaining("has no call") });
});

describe("a path in the log", () => {
  const keys = createKeyShapes(legacyPrefixes);

  test.each([
    ["the query", "/api/x?token=secret", "/api/x"],
    ["what follows a #", "/api/x#secret", "/api/x"],
    ["a key", `/api/x/${key}/test`, "/api/x/[redacted]/test"],
    ["a key inside a segment", `/api/x/a-${key}`, "/api/x/[redacted]"],
    ["a key in capitals", `/${key.toUpperCase()}`, "/[redacted]"],
    ["a key with escapes", `/${key.replaceAll("_", "%5F")}`, "/[redacted]"],
    ["a key whose letters are escaped", "/%71e_sk_live_ABC", "/[redacted]"],
    ["a key beside broken escapes", `/%zz%${key.replaceAll("_", "%5f")}%`, "/[redacted]"],
    ["a key of an earlier system", `/api/x/${legacy[0]}/test`, "/api/x/[redacted]/test"],
    ["a key of an earlier system in capitals", `/api/x/${legacy[1].toUpperCase()}`, "/api/x/[redacted]"],
    [
      "a key of an earlier system with escapes",
      `/api/x/a-${legacy[1].replace("_", "%255F")}`,
      "/api/x/[redacted]",
    ],
    ["the user of a whole URL", "http://user:password@host/api/x?y", "/api/x"],
    ["what is no path at all", "secret", "[not-a-path]"],
    [
      "the secret end of a receiver's path",
      "/in/chn_01HXY0000000000000000000AB/the-secret?x",
      "/in/chn_01HXY0000000000000000000AB/[redacted]",
    ],
    ["what stands where a channel's id should", "/in/the-secret", "/in/[redacted]"],
  ])("is without %s", (_, url, expected) => {
    expect(loggablePath(url, keys)).toBe(expected);
  });

  test("is otherwise as it was asked for", () => {
    expect(loggablePath("/api/connections/a%2Fb/x:y", keys)).toBe("/api/connections/a%2Fb/x:y");
    expect(loggablePath("*", keys)).toBe("*");
  });

  test("is cut where it is longer than anyone reads", () => {
    expect(loggablePath(`/${"a".repeat(10_000)}`, keys)).toHaveLength(512);
  });

  test("is short and on one line, and shows no key, whatever the caller sends", () => {
    const anyCharacter = fc.nat({ max: 0xffff }).map((code) => String.fromCharCode(code));
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.string({ unit: anyCharacter }),
            fc.constantFrom("qe_sk_", "%71e%5fsk%5F", "/", "?", "\n"),
          ),
        ),
        (parts) => {
          const shown = loggablePath(`/${parts.join("")}`, keys);
          expect(shown).toMatch(/^[\x21-\x7e]{1,1000}$/);
          expect(shown).not.toMatch(/qe_sk_|%71e%5fsk%5F/i);
        },
      ),
    );
  });

  test("is without the key over the wire, over both protocols", async () => {
    await using port = await startLogged(sayHello);
    await fetch(`${port.origin}/api/${key}?key=${key}`);
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":path": `/api/${key}?key=${key}` });
    await once(stream.resume(), "close");
    const lines = await port.lines();
    expect(lines).toMatchObject([{ path: "/api/[redacted]" }, { path: "/api/[redacted]" }]);
    expect(JSON.stringify(lines)).not.toContain("qe_sk_");
  });
});
