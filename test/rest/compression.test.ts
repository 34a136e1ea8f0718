import http from "node:http";
import http2 from "node:http2";
import { buffer } from "node:stream/consumers";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService({ corsOrigins: ["https://app.example"] });
  for (let made = 0; made < 5; made += 1) {
    await service.org.client.apiKeys.createApiKey({ name: `job ${made}`, scopes: ["other:view"] });
  }
});
afterAll(() => service[Symbol.asyncDispose]());

const large = "/api/api-keys";
const small = "/api/auth/me";
const document = "/openapi.json";

interface Answer {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A client that undoes nothing and adds no header of its own. */
async function send(
  path: string,
  headers: Record<string, string> = {},
  { method = "GET", body = "" } = {},
): Promise<Answer> {
  const asked = http.request(service.url + path, {
    method,
    headers: { authorization: `Bearer ${service.org.secret}`, ...headers },
  });
  asked.end(body);
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    asked.on("response", resolve).on("error", reject);
  });
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
}

function undone({ headers, body }: Answer): string {
  const undo = { gzip: gunzipSync, br: brotliDecompressSync }[headers["content-encoding"] ?? ""];
  return (undo === undefined ? body : undo(body)).toString();
}

describe.each([large, document])("GET %s", (path) => {
  test.each<[string | undefined, string | undefined]>([
    [undefined, undefined],
    ["", undefined],
    ["gzip", "gzip"],
    ["br", "br"],
    ["gzip, deflate, br, zstd", "gzip"],
    ["gzip;q=0.5, br;q=0.9", "br"],
    ["gzip;q=0, *", "br"],
    ["zstd", undefined],
    ["identity", undefined],
    ["identity;q=0", undefined],
    ["identity;q=0, br;q=0.001", "br"],
    ["identity;q=1, gzip;q=0.9", undefined],
    ["*;q=0", undefined],
  ])("with Accept-Encoding %j is answered in the coding %s", async (accepted, coding) => {
    const answer = await send(path, accepted === undefined ? {} : { "accept-encoding": accepted });
    expect(answer).toMatchObject({ status: 200, headers: { "content-type": "application/json" } });
    expect(answer.headers["content-encoding"]).toBe(coding);
    expect(answer.headers.vary).toBe("origin, accept-encoding");
    expect(answer.headers["content-length"]).toBe(String(answer.body.length));
    expect(undone(answer)).toBe(undone(await send(path)));
  });

  test("has the same headers for HEAD, without a byte", async () => {
    for (const accepted of ["gzip", "br", "identity"]) {
      const [get, head] = [
        await send(path, { "accept-encoding": accepted }),
        await send(path, { "accept-encoding": accepted }, { method: "HEAD" }),
      ];
      expect([head.status, head.body.length]).toEqual([200, 0]);
      const names = ["content-encoding", "content-length", "content-type", "vary", "etag"];
      for (const name of names) expect([name, head.headers[name]]).toEqual([name, get.headers[name]]);
    }
  });

  test("is compressed over HTTP/2 as well", async () => {
    const session = http2.connect(service.url);
    const stream = session.request({
      ":path": path,
      authorization: `Bearer ${service.org.secret}`,
      "accept-encoding": "br",
    });
    const headers = await new Promise<http2.IncomingHttpHeaders>((resolve, reject) => {
      stream.on("response", resolve).on("error", reject);
    });
    const body = await buffer(stream);
    session.close();
    expect(headers).toMatchObject({ ":status": 200, "content-encoding": "br" });
    expect(headers.vary).toBe("origin, accept-encoding");
    expect(brotliDecompressSync(body).toString()).toBe(undone(await send(path)));
  });

  test("has no parts: a range is answered with all of it", async () => {
    const answer = await send(path, { "accept-encoding": "gzip", range: "bytes=0-9" });
    expect(answer).toMatchObject({ status: 200, headers: { "content-encoding": "gzip" } });
    expect(undone(answer)).toBe(undone(await send(path)));
  });
});

test("the description has one weak tag, by which a client knows it in every coding", async () => {
  const tags = new Set<string | undefined>();
  for (const accepted of ["gzip", "br", "identity"]) {
    const { headers } = await send(document, { "accept-encoding": accepted });
    tags.add(headers.etag);
    const again = await send(document, { "accept-encoding": accepted, "if-none-match": headers.etag! });
    expect([again.status, again.body.length]).toEqual([304, 0]);
    expect(again.headers).toMatchObject({ etag: headers.etag, vary: "origin, accept-encoding" });
    expect(again.headers).not.toHaveProperty("content-encoding");
  }
  expect([...tags]).toEqual([expect.stringMatching(/^W\/"[\w-]+"$/)]);
});

test("an answer of few bytes is sent as it is, unless its caller refuses that", async () => {
  expect((await send(small, { "accept-encoding": "gzip" })).headers).not.toHaveProperty("content-encoding");
  const answer = await send(small, { "accept-encoding": "gzip, identity;q=0" });
  expect(answer.headers["content-encoding"]).toBe("gzip");
  expect(undone(answer)).toContain('{"data":{"organizationId":');
});

test("a failure is compressed as any other answer", async () => {
  const answer = await send("/api/api-keys/key_missing", { "accept-encoding": "br, identity;q=0" });
  expect([answer.status, answer.headers["content-encoding"]]).toEqual([404, "br"]);
  expect(JSON.parse(undone(answer))).toEqual({ error: expect.stringContaining("no such api key") });
});

test("an answer with a secret is never compressed, on no protocol", async () => {
  const body = JSON.stringify({
    name: "long",
    scopes: Array.from({ length: 90 }, (_, i) => `area${i}:view`),
  });
  const headers = { "accept-encoding": "gzip, br, identity;q=0", "content-type": "application/json" };
  const connect = "/patchbay.apikeys.v1.ApiKeyService/CreateApiKey";
  for (const path of ["/api/api-keys", connect]) {
    const answer = await send(path, headers, { method: "POST", body });
    expect(answer.body.length).toBeGreaterThan(1024);
    expect(answer.headers).not.toHaveProperty("content-encoding");
    expect(answer.body.toString()).toContain('"secret":"qe_sk_');
  }
});
