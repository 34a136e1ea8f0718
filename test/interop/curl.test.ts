import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { run } from "./support.ts";

let service: TestService;
let upstream: Upstream;
let connectionId: string;

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  const { connection } = await service.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:ledger",
    baseUrl: upstream.url,
    apiKey: "the-ledgers-own-key",
  });
  connectionId = connection!.id;
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

interface CurlReply {
  /** Of curl itself: 0, or what went wrong with the transfer. */
  readonly exit: number | null;
  /** Of HTTP. */
  readonly version: string;
  readonly status: number;
  /** All values of each, by lower-case name. */
  readonly headers: Record<string, string[]>;
  readonly body: string;
}

const written = '%{stderr}{"version":"%{http_version}","status":%{http_code},"headers":%{header_json}}';

/** Runs curl with the admin key. */
async function curl(path: string, args: readonly string[], input?: string | Buffer): Promise<CurlReply> {
  const key = ["--oauth2-bearer", service.org.secret];
  return stranger(path, [...key, ...args], input);
}

/** Runs curl without a key. */
async function stranger(path: string, args: readonly string[], input?: string | Buffer): Promise<CurlReply> {
  const all = [
    "--disable",
    "--silent",
    "--max-time",
    "10",
    "--write-out",
    written,
    ...args,
    service.url + path,
  ];
  const { status, stdout, stderr } = await run("curl", all, input);
  return { ...(JSON.parse(stderr) as Omit<CurlReply, "exit" | "body">), exit: status, body: stdout };
}

describe.each([
  ["HTTP/1.1", "1.1", ["--http1.1"]],
  ["HTTP/2 with prior knowledge", "2", ["--http2-prior-knowledge"]],
])("curl over %s", (_, version, http) => {
  test("registers a connection, calls through it, and gets what the service answered", async () => {
    upstream.answer({ headers: { "content-type": "application/json" }, body: '{"balance":7}' });
    const wanted = { serviceSlug: "custom:ledger", baseUrl: upstream.url, apiKey: "the-ledgers-own-key" };
    const registered = await curl("/api/service-connections", [...http, "--json", JSON.stringify(wanted)]);
    expect(registered).toMatchObject({ exit: 0, version, status: 201 });
    expect(JSON.parse(registered.body)).toMatchObject({
      data: { connection: { id: connectionId, apiKeyHash: expect.stringMatching(/^sha256:/) as string } },
    });
    const call = { service: "custom:ledger", method: "GET", path: "/balance" };
    const called = await curl("/api/service-calls", [...http, "--json", JSON.stringify(call)]);
    expect(called).toMatchObject({ exit: 0, version, status: 200 });
    expect(JSON.parse(called.body)).toMatchObject({ data: { status: 200, json: { balance: 7 } } });
    expect(upstream.asked.at(-1)!.headers.authorization).toBe("Bearer the-ledgers-own-key");
  });

  test("gets the exact refusal without a key, and what it should present", async () => {
    const reply = await stranger("/api/service-connections", http);
    expect(reply).toMatchObject({
      exit: 0,
      version,
      status: 401,
      body: '{"error":"missing or invalid Bearer"}',
    });
    expect(reply.headers).toMatchObject({
      "www-authenticate": ["Bearer"],
      "content-type": ["application/json"],
      "x-error-reason": ["INVALID_BEARER"],
    });
  });

  test("tests a connection with an empty POST, and with an empty JSON object", async () => {
    for (const args of [
      ["-X", "POST"],
      ["--json", "{}"],
    ]) {
      const reply = await curl(`/api/service-connections/${connectionId}/test`, [...http, ...args]);
      expect(reply).toMatchObject({ exit: 0, version, status: 200 });
      expect(JSON.parse(reply.body)).toStrictEqual({ ok: true, latencyMs: expect.any(Number) as number });
    }
  });

  test("is told which methods a path takes", async () => {
    const reply = await curl("/api/service-connections", [...http, "-X", "PUT", "--json", "{}"]);
    expect(reply).toMatchObject({ exit: 0, version, status: 405 });
    expect(reply.headers["allow"]).toStrictEqual(["GET, HEAD, POST"]);
    expect(JSON.parse(reply.body)).toStrictEqual({
      error: expect.stringContaining("use GET, HEAD, POST") as string,
    });
  });

  test("is told the nearest path to one that does not exist", async () => {
    const reply = await curl("/api/service-connection", http);
    expect(reply).toMatchObject({ exit: 0, version, status: 404 });
    expect(reply.headers["content-type"]).toStrictEqual(["application/json"]);
    expect(JSON.parse(reply.body)).toStrictEqual({
      error: expect.stringContaining("/api/service-connections") as string,
    });
  });

  test("is told to say that its body is JSON, since it says form data by itself", async () => {
    const reply = await curl("/api/service-calls", [...http, "--data", '{"service":"custom:ledger"}']);
    expect(reply).toMatchObject({ exit: 0, version, status: 415 });
    expect(JSON.parse(reply.body).error).toContain("Content-Type: application/json");
  });

  test("is told that a body is too large, whether it says the size beforehand or not", async () => {
    const large = JSON.stringify({
      service: "custom:ledger",
      method: "POST",
      path: "/",
      text: "x".repeat(5_000_000),
    });
    const type = ["-H", "content-type: application/json", "-X", "POST"];
    for (const args of [
      ["--data-binary", "@-"],
      ["--upload-file", "-"],
    ]) {
      const reply = await curl("/api/service-calls", [...http, ...type, ...args], large);
      expect(reply).toMatchObject({ exit: 0, version, status: 413 });
      expect(JSON.parse(reply.body)).toStrictEqual({
        error: expect.stringContaining("4194304 bytes") as string,
      });
    }
  });

  test("uploads a body of 3 MB to the service behind", async () => {
    upstream.answer((asked) => ({
      headers: { "content-type": "text/plain" },
      body: String(asked.body.length),
    }));
    const call = { service: "custom:ledger", method: "POST", path: "/", text: "x".repeat(3_000_000) };
    const args = ["-H", "Expect: 100-continue", "--json", "@-"];
    const reply = await curl("/api/service-calls", [...http, ...args], JSON.stringify(call));
    expect(reply).toMatchObject({ exit: 0, version, status: 200 });
    expect(JSON.parse(reply.body)).toMatchObject({ data: { text: "3000000" } });
  });

  test("is refused for its key and not made to send 5 MB first", async () => {
    const args = [
      "-H",
      "content-type: application/json",
      "-H",
      "Expect: 100-continue",
      "--data-binary",
      "@-",
    ];
    const reply = await stranger("/api/service-calls", [...http, ...args], Buffer.alloc(5_000_000));
    expect(reply).toMatchObject({
      exit: 0,
      version,
      status: 401,
      body: '{"error":"missing or invalid Bearer"}',
    });
  });

  test("gets its own request id back, else a new one", async () => {
    const given = await curl("/api/auth/me", [...http, "-H", "x-request-id: ticket-4711"]);
    expect(given.headers["x-request-id"]).toStrictEqual(["ticket-4711"]);
    const made = await stranger("/api/auth/me", http);
    expect(made.headers["x-request-id"]).toStrictEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)]);
    expect(service.logged()).toContain(`"requestId":"${made.headers["x-request-id"]![0]}"`);
  });

  test("asks for the headers alone", async () => {
    const reply = await curl("/api/auth/me", [...http, "--head"]);
    expect(reply).toMatchObject({ exit: 0, version, status: 200 });
    expect(Number(reply.headers["content-length"]![0])).toBeGreaterThan(10);
  });
});

test("curl that offers to upgrade from HTTP/1.1 is answered over HTTP/1.1", async () => {
  const reply = await curl("/api/auth/me", ["--http2"]);
  expect(reply).toMatchObject({ exit: 0, version: "1.1", status: 200 });
});
