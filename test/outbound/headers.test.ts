import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound, type Outbound, type OutboundRequest } from "#src/outbound/outbound.ts";
import { bearerToken } from "../support/credential.ts";
import { response, startUpstream, type Upstream } from "./network.ts";

let upstream: Upstream;
let outbound: Outbound;
beforeAll(async () => {
  upstream = await startUpstream(response("ok"));
  outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1") });
});
afterAll(async () => {
  await outbound.close();
  await upstream[Symbol.asyncDispose]();
});

/** Sends, and gives back the head of the request as the service saw it. */
async function headSent(request: Partial<OutboundRequest>): Promise<string[]> {
  const before = upstream.received.length;
  await outbound.send({ share: "acme", baseUrl: upstream.origin, method: "GET", path: "/", ...request });
  return upstream.received.slice(before).split("\r\n\r\n")[0]!.toLowerCase().split("\r\n");
}

describe("what the caller may not say", () => {
  test.each([
    ["Authorization", "Bearer stolen"],
    ["AUTHORIZATION", "Basic c3RvbGVu"],
    ["Cookie", "session=stolen"],
    ["Host", "stolen.example"],
    ["Content-Length", "9999999"],
    ["X-Original-URL", "/stolen"],
    ["X_Rewrite_Url", "/stolen"],
    ["Transfer-Encoding", "chunked, stolen"],
    ["TE", "trailers, stolen"],
    ["Trailer", "stolen"],
    ["Connection", "stolen"],
    ["Keep-Alive", "timeout=stolen"],
    ["Upgrade", "stolen"],
    ["HTTP2-Settings", "stolen"],
    ["Expect", "100-continue; stolen"],
    ["Proxy-Authorization", "Basic stolen"],
    ["Proxy-Connection", "stolen"],
    ["Proxy", "http://stolen.example"],
    ["Forwarded", "for=stolen"],
    ["X-Forwarded-For", "stolen"],
    ["X-Forwarded-Host", "stolen"],
    ["X_Forwarded_For", "stolen"],
    ["Content_Length", "stolen"],
    ["Accept-Encoding", "stolen"],
    ["X-Caller-Service", "stolen"],
    ["x_CALLER_service", "stolen"],
    ["X.Caller~Service", "stolen"],
  ])("row 30: %s is not on the wire", async (name, value) => {
    const head = await headSent({ headers: { [name]: value, "x-kept": "kept" } });
    expect(head.join("\n")).not.toContain("stolen");
    expect(head).toContain("x-kept: kept");
    expect(head).toContain(`host: 127.0.0.1:${upstream.port}`);
    expect(head).toContain("accept-encoding: gzip, deflate, br");
    expect(head.filter((line) => line.startsWith("host:"))).toHaveLength(1);
  });

  test("a header that Connection names stays behind with it", async () => {
    const head = await headSent({ headers: { Connection: "close, X-Hop", "x-hop": "one", "x-end": "two" } });
    expect(head.join("\n")).not.toContain("x-hop");
    expect(head).toContain("x-end: two");
  });
});

describe("what cannot be said at all", () => {
  test.each<[string, Partial<OutboundRequest>]>([
    ["a line break in a value", { headers: { "x-a": "1\r\nx-injected: 1" } }],
    ["a line feed in a value", { headers: { "x-a": "1\nx-injected: 1" } }],
    ["NUL in a value", { headers: { "x-a": "1\u0000" } }],
    ["a control character in a value", { headers: { "x-a": "1\u007f" } }],
    ["a character outside Latin-1 in a value", { headers: { "x-a": "\u010d\u010a" } }],
    ["a line break in a cookie", { headers: { cookie: "a=1\r\nx-injected: 1" } }],
    ["a line break in a name", { headers: { "x-a\r\nx-injected": "1" } }],
    ["a blank in a name", { headers: { "x-a ": "1" } }],
    ["a colon in a name", { headers: { "x-a:x": "1" } }],
    ["an empty name", { headers: { "": "1" } }],
    ["one name in two spellings", { headers: { "x-a": "1", "X-A": "2" } }],
    ["a line break in the method", { method: "GET / HTTP/1.1\r\nx-injected: 1\r\n" }],
    ["a blank in the method", { method: "GET " }],
    ["a method in small letters", { method: "get" }],
    ["no method", { method: "" }],
    ["CONNECT", { method: "CONNECT" }],
    ["TRACE", { method: "TRACE" }],
    ["a line break in a query value", { query: [["a", "1\r\nx-injected: 1"]] }],
    ["NUL in a query name", { query: [["a\u0000", "1"]] }],
    ["half a character in the query", { query: [["a", "\ud800"]] }],
    ["a body above the limit", { method: "POST", body: Buffer.alloc(10 * 1024 * 1024 + 1) }],
    ["a credential with a line break", { credential: credential("abc\r\nx-injected: 1") }],
    ["a credential beyond ASCII", { credential: credential("pässwörter") }],
    ["an empty credential", { credential: credential("") }],
  ])("row 29: %s is refused and nothing is sent", async (_, request) => {
    const before = upstream.received.length;
    const filled = request.credential
      ? { ...request, credential: { ...request.credential, boundTo: upstream.origin } }
      : request;
    const sent = outbound.send({
      share: "acme",
      baseUrl: upstream.origin,
      method: "GET",
      path: "/",
      ...filled,
    });
    await expect(sent).rejects.toMatchObject({
      reason: "INVALID_OUTBOUND_REQUEST",
      kind: "invalid_argument",
    });
    expect(upstream.received.length).toBe(before);
  });
});

function credential(text: string) {
  return bearerToken("http://elsewhere.example", text);
}

const nothing = { headers: {}, query: {}, cookies: {}, body: {}, secrets: [] };

describe("the credential", () => {
  test("is sent as a Bearer token, in place of anything the caller says", async () => {
    const head = await headSent({
      headers: { authorization: "Bearer mine", Connection: "authorization" },
      credential: bearerToken(upstream.origin, "Stored-1.2_3~4+5/6="),
    });
    expect(head.filter((line) => line.startsWith("authorization:"))).toEqual([
      "authorization: bearer stored-1.2_3~4+5/6=",
    ]);
  });

  test.each(["x-caller-service", "X_Caller_Service"])(
    "is presented as the service that it was issued to, whatever the caller says in %s",
    async (name) => {
      const head = await headSent({
        headers: { [name]: "stolen", Connection: "x-caller-service" },
        credential: {
          boundTo: upstream.origin,
          reveal: () => ({ ...nothing, headers: { "x-caller-service": "orchestration" } }),
        },
      });
      expect(head.filter((line) => /^x.caller.service:/.test(line))).toEqual([
        "x-caller-service: orchestration",
      ]);
    },
  );

  test.each([
    ["another host", (port: number) => `http://localhost:${port}`],
    ["another port", (port: number) => `http://127.0.0.1:${port + 1}`],
    ["another scheme", (port: number) => `https://127.0.0.1:${port}`],
    ["a path below", (port: number) => `http://127.0.0.1:${port}/api/v1`],
    ["a path beside it that begins alike", (port: number) => `http://127.0.0.1:${port}/ap`],
    ["a form of it that is none", (port: number) => `http://127.0.0.1:${port}/api/`],
  ])("is not sent when it was stored for %s", async (_, boundTo) => {
    const connections = upstream.connections;
    const before = upstream.received.length;
    const sent = outbound.send({
      share: "acme",
      baseUrl: `${upstream.origin}/api`,
      method: "GET",
      path: "/",
      credential: bearerToken(boundTo(upstream.port), "canary-5d1e"),
    });
    await expect(sent).rejects.toMatchObject({ reason: "INVALID_OUTBOUND_REQUEST" });
    expect(upstream.connections).toBe(connections);
    expect(upstream.received.length).toBe(before);
  });
});

describe("an ordinary request", () => {
  test("arrives with its method, path, query, headers and body", async () => {
    const before = upstream.received.length;
    const reply = await outbound.send({
      share: "acme",
      baseUrl: `${upstream.origin}/api`,
      method: "POST",
      path: "/users",
      query: [
        ["a", "1 &2"],
        ["a", "ü"],
        ["", "%"],
      ],
      headers: { "Content-Type": "application/json", "X-Latin": "caf\u00e9" },
      body: Buffer.from('{"a":1}'),
    });
    const [head, body] = upstream.received.slice(before).split("\r\n\r\n");
    expect(head).toContain("POST /api/users?a=1%20%262&a=%C3%BC&=%25 HTTP/1.1\r\n");
    expect(head).toContain("content-type: application/json\r\n");
    expect(head).toContain("x-latin: caf\u00e9\r\n");
    expect(head).toContain("content-length: 7");
    expect(body).toBe('{"a":1}');
    expect(reply).toMatchObject({ status: 200, body: Buffer.from("ok") });
    expect(reply.latencyMs).toBeGreaterThan(0);
  });

  test("says who we are unless the caller does", async () => {
    expect(await headSent({})).toContain("user-agent: patchbay");
    expect(await headSent({ headers: { "User-Agent": "mine" } })).toContain("user-agent: mine");
  });
});
