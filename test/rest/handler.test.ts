import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { isKnownAnswer } from "#src/platform/etag.ts";
import { libraryWith, startRest } from "./support.ts";

const MiB = 1024 * 1024;
const refuse = () => Promise.reject(new ConnectError("missing or invalid Bearer", Code.Unauthenticated));

/** A promise, and the function that fulfils it. */
function signal<T = void>() {
  return Promise.withResolvers<T>();
}

/** Sends raw bytes over HTTP/1.1 and answers everything that comes back until the server closes. */
async function untilClosed(port: number, text: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(text);
  let answer = "";
  socket.setEncoding("utf8").on("data", (chunk) => (answer += chunk));
  await once(socket, "close");
  return answer;
}

/** Sends a request over HTTP/2 and answers what comes back, also if its body is left open. */
async function overHttp2(port: number, headers: Record<string, string>, body: string, { open = false } = {}) {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const stream = session.request(headers, { endStream: false });
  const ended = once(stream, "end");
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  if (open) stream.write(body);
  else stream.end(body);
  const [answered] = (await once(stream, "response")) as [Record<string, string | number>];
  await ended;
  session.destroy();
  return { headers: answered, json: text === "" ? undefined : JSON.parse(text) };
}

describe("an answer", () => {
  test("is the message in a data envelope, with fields that hold their default", async () => {
    await using service = await startRest();
    const { status, headers, json } = await service.send("GET", "/v1/search?text=x");
    expect([status, headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(Object.keys(json)).toEqual(["data"]);
    expect(json.data).toMatchObject({ text: "x", flag: false, int32: 0, texts: [], labels: {}, int64: "0" });
    expect(json.data).not.toHaveProperty("note");
    expect(json.data).not.toHaveProperty("inner");
  });

  test("has the declared status", async () => {
    await using service = await startRest();
    expect((await service.send("POST", "/v1/books")).status).toBe(201);
  });

  test("is the bare message where the method says so", async () => {
    await using service = await startRest();
    const { json } = await service.send("POST", "/v1/books/x:cancel");
    expect(json).toMatchObject({ text: "x" });
    expect(json).not.toHaveProperty("data");
  });

  test("is the response_body field alone, and null if that is not set", async () => {
    await using service = await startRest();
    expect((await service.send("GET", "/v1/names?texts=a&texts=b")).json).toEqual({ data: ["a", "b"] });
    expect((await service.send("GET", "/v1/names")).json).toEqual({ data: [] });
    expect((await service.send("GET", "/v1/inner?inner.name=x")).json).toEqual({
      data: { name: "x", count: 0 },
    });
    expect((await service.send("GET", "/v1/inner")).json).toEqual({ data: null });
  });

  test("carries the headers that the handler sets", async () => {
    await using service = await startRest({
      call: (_, request, { responseHeader }) => {
        responseHeader.set("etag", '"7"');
        return Promise.resolve(request);
      },
    });
    expect((await service.send("GET", "/v1/search")).headers.get("etag")).toBe('"7"');
  });

  test("with a tag is not sent again to a caller that has it", async () => {
    let digest = "one";
    const known: boolean[] = [];
    await using service = await startRest({
      call: (_, request, context) => {
        known.push(isKnownAnswer(context, digest));
        return Promise.resolve(request);
      },
    });
    const ask = async (tag?: string, method = "GET") => {
      const given = tag === undefined ? {} : { "if-none-match": tag };
      const { status, headers, json } = await service.send(method, "/v1/tagged?text=x", undefined, given);
      return [status, headers.get("etag"), headers.get("cache-control"), json?.data.text];
    };
    const kept = "private, no-cache";
    expect(await ask()).toEqual([200, 'W/"one"', kept, "x"]);
    for (const tag of ['W/"one"', '"one"', 'W/"zero", W/"one"', "*"]) {
      expect(await ask(tag)).toEqual([304, 'W/"one"', kept, undefined]);
    }
    expect(await ask('W/"one"', "HEAD")).toEqual([304, 'W/"one"', kept, undefined]);
    expect(await ask("one")).toEqual([200, 'W/"one"', kept, "x"]);
    expect(known).toEqual([false, true, true, true, true, true, false]);
    digest = "two";
    expect(await ask('W/"one"')).toEqual([200, 'W/"two"', kept, "x"]);
  });

  test("to HEAD is that to GET without the body", async () => {
    await using service = await startRest();
    const get = await service.send("GET", "/v1/search?text=x");
    const head = await service.send("HEAD", "/v1/search?text=x");
    expect([head.status, head.json]).toEqual([200, undefined]);
    expect(head.headers.get("content-length")).toBe(get.headers.get("content-length"));
    expect((await service.send("HEAD", "/v1/nope")).status).toBe(404);
    expect(
      (await overHttp2(service.http2Port, { ":method": "HEAD", ":path": "/v1/search" }, "")).json,
    ).toBeUndefined();
  });

  test("is the same over HTTP/2", async () => {
    await using service = await startRest();
    const post = { ":method": "POST", ":path": "/v1/books", "content-type": "application/json" };
    const { headers, json } = await overHttp2(service.http2Port, post, '{"text":"x"}');
    expect([headers[":status"], json.data.text]).toEqual([201, "x"]);
    expect((await overHttp2(service.http2Port, { ":path": "/v1/nope" }, "")).headers[":status"]).toBe(404);
  });

  test("to a target in absolute form is that to its path", async () => {
    await using service = await startRest();
    const head =
      "GET http://other.example/v1/search?text=x HTTP/1.1\r\nhost: b a d\r\nconnection: close\r\n\r\n";
    expect(await untilClosed(service.port, head)).toContain('"text":"x"');
    expect(service.called[0]?.url).toBe("http://localhost/v1/search?text=x");
  });

  test("that cannot be written as JSON is an internal error without details", async () => {
    await using service = await startRest({
      call: (method) => Promise.resolve(create(method.input, { at: { seconds: 1n << 62n } })),
    });
    const { status, json } = await service.send("GET", "/v1/search");
    expect([status, json]).toEqual([500, { error: "internal error" }]);
  });
});

describe("what the handler throws", () => {
  test("is answered with status, reason and message, never with its stack", async () => {
    await using service = await startRest({
      call: () => Promise.reject(new Error("SELECT secret FROM keys")),
    });
    const { status, headers, json } = await service.send("GET", "/v1/search");
    expect([status, headers.get("x-error-reason"), json]).toEqual([
      500,
      "INTERNAL",
      { error: "internal error" },
    ]);
  });

  test("also when it throws at once", async () => {
    await using service = await startRest({
      call: () => {
        throw new Error("at once");
      },
    });
    expect((await service.send("GET", "/v1/search")).status).toBe(500);
  });

  test("carries the headers of the failure", async () => {
    await using service = await startRest({ gate: refuse });
    expect((await service.send("GET", "/v1/search")).headers.get("www-authenticate")).toBe("Bearer");
  });
});

describe("a caller that the gate refuses", () => {
  test("is answered before its body arrives, and the connection is closed", async () => {
    await using service = await startRest({ gate: refuse });
    const head =
      "POST /v1/books HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    const answer = await untilClosed(service.port, `${head}{"text":"half`);
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(answer.toLowerCase()).toContain("connection: close");
    expect(answer).toMatch(/\{"error":"missing or invalid Bearer"\}$/);
  });

  test("is answered before its body arrives over HTTP/2", async () => {
    await using service = await startRest({ gate: refuse });
    const post = { ":method": "POST", ":path": "/v1/books" };
    const { headers, json } = await overHttp2(service.http2Port, post, '{"text":"half', { open: true });
    expect([headers[":status"], json]).toEqual([401, { error: "missing or invalid Bearer" }]);
  });

  test("keeps its connection if it sent no body", async () => {
    await using service = await startRest({ gate: refuse });
    const get = "GET /v1/search HTTP/1.1\r\nhost: x\r\n";
    const answer = await untilClosed(service.port, `${get}\r\n${get}connection: close\r\n\r\n`);
    expect(answer.match(/HTTP\/1\.1 401/g)).toHaveLength(2);
  });

  test("never reaches the method", async () => {
    await using service = await startRest({ gate: refuse });
    await service.send("POST", "/v1/books", { text: "x" });
    expect(service.called).toEqual([]);
  });
});

describe("a body beyond the limit", () => {
  const post = "POST /v1/books HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

  test("is refused unread if its length is declared", async () => {
    await using service = await startRest();
    const answer = await untilClosed(service.port, `${post}content-length: ${5 * MiB}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toMatch(/\{"error":"the body is larger than 4194304 bytes: send less at a time"\}$/);
  });

  test("is refused as soon as it is read that far", async () => {
    await using service = await startRest({ contracts: [libraryWith({ messageBytes: 10 })] });
    const answer = await untilClosed(
      service.port,
      `${post}transfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    const headers2 = { ":method": "POST", ":path": "/v1/books" };
    const { headers } = await overHttp2(service.http2Port, headers2, "01234567890", { open: true });
    expect(headers[":status"]).toBe(413);
  });

  test("does not begin at the limit itself", async () => {
    await using service = await startRest({ contracts: [libraryWith({ messageBytes: 12 })] });
    expect((await service.send("POST", "/v1/books", '{"text":"x"}')).status).toBe(201);
    expect((await service.send("POST", "/v1/books", '{"text":"xy"}')).status).toBe(413);
  });

  test("is smaller for JSON than for a body that is a field as it is", async () => {
    await using service = await startRest({ contracts: [libraryWith({ messageBytes: 6 * MiB })] });
    const json = (member: string) => JSON.stringify({ [member]: "x".repeat(5 * MiB) });
    expect((await service.send("POST", "/v1/scrolls/top", json("scroll"))).status).toBe(200);
    expect(await service.send("POST", "/v1/scrolls/top", json("url"))).toMatchObject({
      status: 413,
      json: { error: expect.stringMatching(/4194304 bytes: send "text" itself as the body/) as unknown },
    });
  });

  test("of a method that takes none begins with its first byte", async () => {
    await using service = await startRest();
    const { headers } = await overHttp2(
      service.http2Port,
      { ":method": "DELETE", ":path": "/v1/books/x" },
      "{}",
    );
    expect(headers[":status"]).toBe(400);
    const empty = await overHttp2(service.http2Port, { ":method": "DELETE", ":path": "/v1/books/x" }, "");
    expect(empty.headers[":status"]).toBe(200);
  });
});

test("an empty body in chunks needs no content type", async () => {
  await using service = await startRest();
  const head =
    "POST /v1/books HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
  expect(await untilClosed(service.port, head)).toMatch(/^HTTP\/1\.1 201 /);
});

describe("a caller that goes away", () => {
  test("while its method runs ends the method's signal, and the service lives on", async () => {
    const started = signal<AbortSignal>();
    const call = (_: unknown, __: unknown, context: { signal: AbortSignal }) => {
      started.resolve(context.signal);
      return new Promise<never>(() => {});
    };
    await using service = await startRest({ call });
    const socket = connect(service.port, "127.0.0.1");
    socket.write("GET /v1/search HTTP/1.1\r\nhost: x\r\n\r\n");
    const running = await started.promise;
    const aborted = once(running, "abort");
    socket.destroy();
    await aborted;
    expect(ConnectError.from(running.reason).code).toBe(Code.Canceled);
    expect((await service.send("GET", "/v1/nope")).status).toBe(404);
  });

  test.each([
    ["GET", "NGHTTP2_CANCEL"],
    ["GET", "NGHTTP2_INTERNAL_ERROR"],
    ["HEAD", "NGHTTP2_CANCEL"],
  ] as const)("over HTTP/2 does too (%s, %s)", async (method, code) => {
    const started = signal<AbortSignal>();
    const call = (_: unknown, __: unknown, context: { signal: AbortSignal }) => {
      started.resolve(context.signal);
      return new Promise<never>(() => {});
    };
    await using service = await startRest({ call });
    const session = connectHttp2(`http://127.0.0.1:${service.http2Port}`);
    const stream = session.request({ ":method": method, ":path": "/v1/search" });
    stream.on("error", () => {});
    const running = await started.promise;
    const aborted = once(running, "abort");
    stream.close(constants[code]);
    await aborted;
    session.destroy();
    expect(ConnectError.from(running.reason).code).toBe(Code.Canceled);
    expect((await service.send("GET", "/v1/nope")).status).toBe(404);
  });

  test.each([
    ["HTTP/1.1", "port"],
    ["HTTP/2", "http2Port"],
  ] as const)("while it sends its body leaves nothing behind over %s", async (_, port) => {
    const passed = signal<AbortSignal>();
    await using service = await startRest({
      gate: (context) => {
        passed.resolve(context.signal);
        return Promise.resolve();
      },
    });
    if (port === "port") {
      const socket = connect(service.port, "127.0.0.1");
      socket.write("POST /v1/books HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
      const running = await passed.promise;
      const aborted = once(running, "abort");
      socket.destroy();
      await aborted;
    } else {
      const session = connectHttp2(`http://127.0.0.1:${service.http2Port}`);
      const stream = session.request({ ":method": "POST", ":path": "/v1/books" }, { endStream: false });
      stream.on("error", () => {}).write("{");
      const running = await passed.promise;
      const aborted = once(running, "abort");
      session.destroy();
      await aborted;
    }
    expect((await service.send("POST", "/v1/books")).status).toBe(201);
    expect(service.called).toHaveLength(1);
  });
});

describe("a call that takes longer than its deadline", () => {
  const soon = { deadline: { nanos: 50_000_000 } };

  test("is answered with 504 although its method goes on", async () => {
    await using service = await startRest({
      contracts: [libraryWith(soon)],
      call: () => new Promise<never>(() => {}),
    });
    const { status, headers } = await service.send("GET", "/v1/search");
    expect([status, headers.get("x-error-reason")]).toEqual([504, "DEADLINE_EXCEEDED"]);
  });

  test("because its body does not come is answered and closed", async () => {
    await using service = await startRest({ contracts: [libraryWith(soon)] });
    const answer = await untilClosed(
      service.port,
      "POST /v1/books HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    );
    expect(answer).toMatch(/^HTTP\/1\.1 504 /);
  });
});

test("the signal ends with the call, so that nothing waits for its deadline", async () => {
  await using service = await startRest();
  await service.send("GET", "/v1/search");
  expect(service.called[0]?.signal.reason).toBe("the call has ended");
});

test("the gate sees method, URL and key before the body", async () => {
  const seen: unknown[] = [];
  await using service = await startRest({
    gate: (context) => {
      seen.push(context.target, context.authorization, context.entrance.name);
      return Promise.resolve();
    },
  });
  await service.send("GET", "/v1/books/a%2Fb?note=a+b", undefined, { authorization: "thing" });
  expect(seen).toEqual(["/v1/books/a%2Fb?note=a+b", "thing", expect.stringMatching(/\/GetBook$/)]);
});

test("a failure that cannot be sent ends its own request, and no other", async () => {
  await using service = await startRest({
    failureOf: (_error, { url }) => ({
      status: 400,
      message: "no",
      reason: "INVALID_REQUEST",
      headers: url === "/v1/unsendable" ? { "x-broken": "a\nb" } : {},
    }),
  });
  await expect(service.send("GET", "/v1/unsendable")).rejects.toThrow("fetch failed");
  expect((await service.send("GET", "/v1/unknown")).status).toBe(400);
});
