import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import type { OutboundLimits } from "#src/outbound/limits.ts";
import { createOutbound, type OutboundRequest } from "#src/outbound/outbound.ts";
import { response, startUpstream, type Answer } from "./network.ts";

/** A client with a service that answers so. */
async function clientOf(answer: Answer, limits: Partial<OutboundLimits> = {}) {
  const upstream = await startUpstream(answer);
  const outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1"), limits });
  const get = (method = "GET", more: Partial<OutboundRequest> = {}) =>
    outbound.send({ share: "acme", baseUrl: upstream.origin, method, path: "/", ...more });
  return {
    upstream,
    get,
    async [Symbol.asyncDispose]() {
      await outbound.close();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

const broken = { reason: "UPSTREAM_UNREACHABLE", kind: "unavailable", metadata: { stage: "HTTP" } };

/** Longer than any of these tests, so that what ends a call is what the test is about. */
const patient = { connectMs: 20_000, headersMs: 20_000, idleMs: 20_000, totalMs: 20_000 };

describe.concurrent("an answer", () => {
  test("comes back with its status, headers and body, without what concerns only us", async () => {
    await using service = await clientOf(
      response(
        "no such thing",
        "Content-Type: text/plain\r\nX-Twice: 1\r\nx-twice: 2\r\n__proto__: x\r\nSet-Cookie: session=1\r\nset-cookie2: x\r\n" +
          "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTrailer: x\r\n",
        "404 Not Found",
      ),
    );
    const { status, headers, body } = await service.get();
    expect(status).toBe(404);
    expect(String(body)).toBe("no such thing");
    expect(Object.entries(headers)).toEqual([
      ["content-length", "13"],
      ["content-type", "text/plain"],
      ["x-twice", "1, 2"],
      ["__proto__", "x"],
    ]);
  });

  test("to HEAD keeps the headers of the body that does not come", async () => {
    await using service = await clientOf(
      "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\ncontent-encoding: gzip\r\n\r\n",
    );
    expect(await service.get("HEAD")).toMatchObject({
      headers: { "content-length": "1000", "content-encoding": "gzip" },
      body: Buffer.alloc(0),
    });
  });

  test.each([
    ["gzip", gzipSync],
    ["x-gzip", gzipSync],
    ["GZIP", gzipSync],
    ["deflate", deflateSync],
    ["deflate", deflateRawSync],
    ["br", brotliCompressSync],
    ["identity, gzip", gzipSync],
    [", gzip,,IDENTITY", gzipSync],
    ["none, br", brotliCompressSync],
  ])("in %s is inflated, and no longer says that it was compressed", async (coding, compress) => {
    await using service = await clientOf(
      response(compress("x".repeat(10_000)), `content-encoding: ${coding}\r\n`),
    );
    const { body, headers } = await service.get();
    expect(String(body)).toBe("x".repeat(10_000));
    expect(headers).toEqual(Object.create(null));
  });

  test.each(["identity", "none", "", ",", "Identity , identity"])(
    "whose content-encoding is %j is in none, and does not say it",
    async (coding) => {
      await using service = await clientOf(response("hello", `content-encoding: ${coding}\r\n`));
      const { body, headers } = await service.get();
      expect([String(body), headers["content-encoding"]]).toEqual(["hello", undefined]);
    },
  );

  test("has its status, whatever is sent before or behind it", async () => {
    await using hinted = await clientOf(
      Buffer.concat([
        Buffer.from("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
        response("", "", "201 Created"),
      ]),
    );
    expect(await hinted.get()).toMatchObject({ status: 201 });
    await using silent = await clientOf(response("a body that 204 cannot have", "", "204 No Content"));
    expect(await silent.get()).toMatchObject({ status: 204, body: Buffer.alloc(0) });
  });

  test.each([301, 302, 303, 307, 308])(
    "row 31: %i to another origin is answered, not followed",
    async (status) => {
      await using other = await clientOf(response("stolen"));
      const targets = [
        other.upstream.origin,
        `http://localhost:${other.upstream.port}`,
        "http://169.254.169.254/latest",
        "//evil.example",
      ];
      for (const location of targets) {
        await using service = await clientOf(response("", `Location: ${location}\r\n`, `${status} Moved`));
        expect(await service.get()).toMatchObject({ status, headers: { location } });
        expect(service.upstream.connections).toBe(1);
      }
      expect(other.upstream.connections).toBe(0);
    },
  );
});

describe.concurrent("row 33: an answer that cannot be inflated comes as it is, and says its coding", () => {
  const twice = gzipSync(gzipSync("hello"));
  const cut = gzipSync("hello".repeat(100)).subarray(0, -9);

  test.each<[what: string, body: Buffer, headers: string, coding: string]>([
    ["gzip within gzip", twice, "content-encoding: gzip, gzip\r\n", "gzip, gzip"],
    ["the same on two lines", twice, "content-encoding: gzip\r\ncontent-encoding: gzip\r\n", "gzip, gzip"],
    ["a coding that we do not know", Buffer.from("hello"), "content-encoding: zstd\r\n", "zstd"],
    ["a coding with a parameter", Buffer.from("hello"), "content-encoding: gzip;q=1\r\n", "gzip;q=1"],
    ["gzip that is none", Buffer.from("hello"), "content-encoding: gzip\r\n", "gzip"],
    ["brotli that is none", Buffer.from("hello"), "content-encoding: br\r\n", "br"],
    ["gzip that was cut off", cut, "content-encoding: gzip\r\n", "gzip"],
  ])("%s", async (_, body, headers, coding) => {
    await using service = await clientOf(response(body, headers, "409 Conflict"), patient);
    expect(await service.get()).toMatchObject({
      status: 409,
      headers: { "content-encoding": coding, "content-length": String(body.length) },
      body,
    });
  });
});

describe.concurrent("an answer that is too large is cut off", () => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));

  test.each<[string, Answer, Partial<OutboundLimits>]>([
    ["row 33: 64 MiB in a few KiB of gzip", response(bomb, "content-encoding: gzip\r\n"), {}],
    [
      "row 33: a brotli bomb",
      response(brotliCompressSync(Buffer.alloc(11 * 1024 * 1024)), "content-encoding: br\r\n"),
      {},
    ],
    [
      "row 33: a deflate bomb",
      response(deflateRawSync(Buffer.alloc(11 * 1024 * 1024)), "content-encoding: deflate\r\n"),
      {},
    ],
    [
      "row 34: an endless chunked body",
      endless("transfer-encoding: chunked", "10000\r\n" + "x".repeat(65536) + "\r\n"),
      {},
    ],
    ["row 34: an endless body without a length", endless("connection: close", "x".repeat(65536)), {}],
    ["row 34: a body one byte above the limit", response("x".repeat(101)), { bodyBytes: 100 }],
    ["row 34: headers above 16 KiB", response("", `x-long: ${"x".repeat(17 * 1024)}\r\n`), {}],
    ["row 34: endless headers", endless("x-first: 1", "x-more: 1\r\n".repeat(500), ""), {}],
    [
      "row 34: endless trailers",
      endless("transfer-encoding: chunked\r\n\r\n0", "x-more: 1\r\n".repeat(500), ""),
      {},
    ],
  ])("%s", async (_, answer, limits) => {
    await using service = await clientOf(answer, { ...patient, ...limits });
    // Only the length, so that a failure does not print the bomb.
    const received = service.get().then((reply) => reply.body.length);
    await expect(received).rejects.toMatchObject({
      reason: "UPSTREAM_TOO_LARGE",
      kind: "resource_exhausted",
    });
  });

  test("a body of exactly the limit passes, compressed or not", async () => {
    await using plain = await clientOf(response("x".repeat(100)), { bodyBytes: 100 });
    expect((await plain.get()).body).toHaveLength(100);
    await using gzip = await clientOf(response(gzipSync("x".repeat(100)), "content-encoding: gzip\r\n"), {
      bodyBytes: 100,
    });
    expect((await gzip.get()).body).toHaveLength(100);
  });
});

describe.concurrent("what is held of an answer that is inflated", () => {
  const plain = Buffer.alloc(4 * 1024 * 1024, "x");

  test("grows no more once the caller has left", async () => {
    await using service = await clientOf(response(gzipSync(plain), "content-encoding: gzip\r\n"), patient);
    const caller = new AbortController();
    const reason = new Error("the caller went away");
    let held = 0;
    const hold = (bytes: number): void => {
      held += bytes;
      if (held > plain.length) caller.abort(reason);
    };
    await expect(service.get("GET", { signal: caller.signal, hold })).rejects.toBe(reason);
    const atLeaving = held;
    // Inflating the same for another caller takes as long as what would be left of it.
    await service.get();
    expect(held).toBe(atLeaving);
  });

  test.each([
    ["for the caller", "gzip"],
    ["only to look for the credential under several codings", "br, gzip"],
  ])("counts its pieces and their whole, if it is inflated %s", async (_, coding) => {
    const body = gzipSync(plain);
    await using service = await clientOf(response(body, `content-encoding: ${coding}\r\n`), patient);
    let held = 0;
    await service.get("GET", { hold: (bytes) => void (held += bytes) });
    expect(held).toBeGreaterThanOrEqual(2 * (body.length + plain.length));
  });
});

describe.concurrent("a call that fails after the service began to answer says with which status", () => {
  const head = "HTTP/1.1 201 Created\r\n";
  const unreachable = "UPSTREAM_UNREACHABLE";
  const tooLarge = "UPSTREAM_TOO_LARGE";

  test.each<[what: string, reason: string, answer: Answer, limits?: Partial<OutboundLimits>]>([
    ["a body that is cut", unreachable, (socket) => socket.end(`${head}content-length: 50\r\n\r\nhello`)],
    [
      "chunks that end early",
      unreachable,
      (socket) => socket.end(`${head}transfer-encoding: chunked\r\n\r\n5\r\nhe`),
    ],
    ["chunks that are none", unreachable, `${head}transfer-encoding: chunked\r\n\r\nhello\r\n`],
    ["a large body", tooLarge, response("x".repeat(101), "", "201 Created"), { bodyBytes: 100 }],
    [
      "a body that is large when it is inflated",
      tooLarge,
      response(gzipSync("x".repeat(101)), "content-encoding: gzip\r\n", "201 Created"),
      { bodyBytes: 100 },
    ],
    ["many headers", tooLarge, response("", `x-long: ${"x".repeat(17 * 1024)}\r\n`, "201 Created")],
    ["silence", "UPSTREAM_TIMEOUT", `${head}content-length: 9\r\n\r\n`, { idleMs: 50 }],
    [
      "a drip",
      "UPSTREAM_TIMEOUT",
      dripping(`${head}content-length: 100000\r\n\r\n`, "x"),
      { totalMs: 2_000 },
    ],
  ])("%s", async (_, reason, answer, limits) => {
    await using service = await clientOf(answer, { ...patient, ...limits });
    await expect(service.get()).rejects.toMatchObject({
      reason,
      metadata: { upstream_status: "201" },
      message: expect.stringContaining("; it answered with status 201, so the call was made"),
    });
  });

  test("and leaves no socket behind, however much of the body it did not read", async () => {
    const answer = response("x".repeat(4 * 1024 * 1024), `x-long: ${"x".repeat(17 * 1024)}\r\n`);
    await using service = await clientOf((socket) => void socket.write(answer), patient);
    await expect(service.get()).rejects.toMatchObject({ reason: tooLarge });
    await service.upstream.abandoned();
  });

  test("and before that says none", async () => {
    await using service = await clientOf((socket) => socket.end("HTTP/1.1 201 Crea"), patient);
    await expect(service.get()).rejects.toMatchObject({
      metadata: { stage: "HTTP" },
      message: expect.not.stringContaining("status"),
    });
  });
});

/** Answers with a head, and then the same piece until the other side has enough. */
function endless(head: string, piece: string, afterHead = "\r\n"): Answer {
  return (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n${afterHead}`);
    const more = (): void => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.on("drain", more);
    more();
  };
}

/** Answers with a head, and then the same piece every 5 ms. */
function dripping(head: string, piece: string): Answer {
  return (socket) => {
    socket.write(head);
    const timer = setInterval(() => socket.write(piece), 5);
    socket.on("close", () => clearInterval(timer));
  };
}

describe.concurrent("an answer that takes too long is given up", () => {
  test.each<[string, Answer, Partial<OutboundLimits>, RegExp]>([
    [
      "row 35: one byte at a time",
      dripping("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", "x"),
      { totalMs: 100 },
      /did not answer completely in 0.1 s/,
    ],
    [
      "row 35: endless early hints",
      dripping("", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
      { headersMs: 50, totalMs: 100 },
      /completely/,
    ],
    [
      "row 35: endless continues",
      dripping("HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"),
      { totalMs: 100 },
      /completely/,
    ],
    [
      "row 36: a drip of headers",
      dripping("HTTP/1.1 200 OK\r\n", "x: 1\r\n"),
      { headersMs: 50 },
      /did not begin to answer/,
    ],
    ["row 36: silence", () => {}, { headersMs: 50 }, /did not begin to answer/],
    ["silence after the head", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", { idleMs: 50 }, /fell silent/],
    [
      "a chunk whose extension never ends",
      dripping("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", "x"),
      { idleMs: 50 },
      /fell silent/,
    ],
  ])("%s", async (_, answer, limits, text) => {
    await using service = await clientOf(answer, { ...patient, ...limits });
    await expect(service.get()).rejects.toMatchObject({
      reason: "UPSTREAM_TIMEOUT",
      kind: "deadline_exceeded",
      message: expect.stringMatching(text),
    });
  });
});

describe.concurrent(
  "row 37: an answer that breaks the protocol is refused, and its socket is not used again",
  () => {
    test.each<[string, Answer]>([
      [
        "a length and chunks",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      ],
      ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"],
      ["a length that is no number", "HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\nhello"],
      [
        "a body shorter than announced",
        (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello"),
      ],
      [
        "the same without keep-alive",
        (socket) => socket.end("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 50\r\n\r\nhello"),
      ],
      [
        "chunks that end early",
        (socket) => socket.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
      ],
      [
        "an upgrade that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
      ],
      [
        "a continue that nobody asked for",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
      ],
      ["something that is not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
      ["a folded header", "HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\ncontent-length: 0\r\n\r\n"],
      ["NUL in a header", "HTTP/1.1 200 OK\r\nx-a: 1\u0000\r\ncontent-length: 0\r\n\r\n"],
      ["nothing at all", (socket) => socket.end()],
      ["a reset", (socket) => socket.resetAndDestroy()],
    ])("%s", async (_, answer) => {
      await using service = await clientOf(answer, patient);
      for (const connections of [1, 2]) {
        await expect(service.get()).rejects.toMatchObject(broken);
        expect(service.upstream.connections).toBe(connections);
      }
    });

    test("a second answer behind the first is not taken for the answer to the next call", async () => {
      let turn = 0;
      await using service = await clientOf((socket) => {
        turn++;
        socket.write(response(`answer ${turn}`));
        if (turn === 1) socket.write(response("smuggled"));
      }, patient);
      expect(String((await service.get()).body)).toBe("answer 1");
      const second = await service.get().then(
        (reply) => String(reply.body),
        (error: Error) => error.constructor.name,
      );
      expect(["answer 2", "UpstreamUnreachable"]).toContain(second);
    });

    test("an answer with a body to HEAD is not taken for the answer to the next call", async () => {
      await using service = await clientOf((socket, request) => {
        socket.write(request.startsWith("HEAD") ? response(response("smuggled")) : response("second"));
      }, patient);
      expect((await service.get("HEAD")).body).toHaveLength(0);
      expect(String((await service.get()).body)).toBe("second");
    });
  },
);
