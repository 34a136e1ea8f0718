import { execFile } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { text } from "node:stream/consumers";
import tls from "node:tls";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import type { Handler } from "#src/platform/http.ts";
import { createPort } from "#src/net/port.ts";
import { Secret } from "#src/platform/secret.ts";
import { frameType, framesIn, get, preface, reset, settings } from "./http2-frames.ts";
import {
  connectHttp2,
  disposableAgent,
  fetchHttp1,
  fetchHttp2,
  gate,
  openSocket,
  recordingLog,
  startPort,
  startProcess,
  testTls,
  write,
} from "./support.ts";

const run = promisify(execFile);

const sayVersion: Handler = (request, response) => {
  request.resume().on("end", () => response.end(`${request.method} over ${request.httpVersion}`));
};

const never: Handler = () => {};

describe("one cleartext port", () => {
  test.each([
    ["--http1.1", "POST over 1.1"],
    ["--http2-prior-knowledge", "POST over 2.0"],
  ])("answers curl %s", async (flag, expected) => {
    await using port = await startPort({ handler: sayVersion });
    const { stdout } = await run("curl", ["-sS", flag, "--data", "x", `${port.origin}/`]);
    expect(stdout).toBe(expected);
  });

  test("ignores an offer to upgrade to HTTP/2", async () => {
    await using port = await startPort({ handler: sayVersion });
    // Without the flag curl offers `Upgrade: h2c`.
    const { stdout } = await run("curl", ["-sS", "--http2", `${port.origin}/`]);
    expect(stdout).toBe("GET over 1.1");
  });

  test("answers several requests on one connection of either protocol", async () => {
    await using port = await startPort({ handler: sayVersion });
    using agent = disposableAgent();
    for (let i = 0; i < 3; i++) expect(await fetchHttp1(port.origin, agent)).toBe("GET over 1.1");
    using session = connectHttp2(port.origin);
    for (let i = 0; i < 3; i++) expect(await fetchHttp2(session)).toBe("GET over 2.0");
  });

  test("survives more connections than it has file descriptors for", async () => {
    await using server = await startProcess("sh", "-c", "ulimit -n 64; exec node test/net/port-process.ts");
    using first = await openSocket(server.port);
    await first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await first.until((received) => received.includes("here"));
    using others = new DisposableStack();
    for (let i = 0; i < 120; i++) others.use(await openSocket(server.port));
    await first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await first.until((received) => received.toString().split("here").length === 3);
  });
});

describe("a port with a certificate", () => {
  test.each([
    ["--http1.1", "GET over 1.1"],
    ["--http2", "GET over 2.0"],
  ])("answers curl %s by ALPN", async (flag, expected) => {
    await using port = await startPort({ handler: sayVersion, tls: testTls });
    const { stdout } = await run("curl", ["-sSk", flag, `${port.origin}/`]);
    expect(stdout).toBe(expected);
  });

  test("answers HTTP/1.1 to a client that negotiates nothing", async () => {
    const key = Secret.fromText(testTls.key.toString());
    await using port = await startPort({ handler: sayVersion, tls: { cert: testTls.cert, key } });
    const [response] = (await once(https.get(port.origin, { ca: testTls.cert }), "response")) as [
      http.IncomingMessage,
    ];
    expect(await text(response)).toBe("GET over 1.1");
  });

  test("refuses TLS below 1.2", async () => {
    await using port = await startPort({ handler: sayVersion, tls: testTls });
    const old = tls.connect({
      port: port.number,
      ca: testTls.cert,
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    const [error] = (await once(old, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
  });

  test("hangs up on a client that does not finish its handshake", async () => {
    await using port = await startPort({ handler: never, tls: testTls, limits: { firstBytesMs: 50 } });
    using client = await port.connect();
    await client.closed();
  });

  test("says which settings to change when the certificate cannot be used", () => {
    const { log } = recordingLog();
    const create = () =>
      createPort({ handler: never, tls: { ...testTls, cert: Buffer.from("nonsense") }, log });
    expect(create).toThrow("set PATCHBAY_TLS_CERT and PATCHBAY_TLS_KEY");
  });

  test("drains both protocols, handshakes that hang included", async () => {
    await using port = await startPort({ handler: sayVersion, tls: testTls, limits: { lingerMs: 20 } });
    using agent = disposableAgent(https);
    await fetchHttp1(port.origin, agent);
    using session = connectHttp2(port.origin);
    await fetchHttp2(session);
    using hanging = await port.connect();
    expect(await port.drain(60_000)).toBe(true);
    await hanging.closed();
  });
});

describe("opening the port", () => {
  test("says what to change when the port is taken", async () => {
    await using first = await startPort({ handler: never });
    const second = createPort({ handler: never, log: recordingLog().log });
    await expect(second.listen("127.0.0.1", first.number)).rejects.toThrow(
      `port ${first.number} on 127.0.0.1 is in use: stop the program that holds it, or choose another with --port`,
    );
  });

  test.each([
    ["no.such.host.invalid", 0, "choose one with --host"],
    ["192.0.2.1", 0, "choose one with --host"],
    ["127.0.0.1", 70_000, "choose one from 1 to 65535 with --port"],
  ])("says what to change for %s, port %i", async (host, number, expected) => {
    const port = createPort({ handler: never, log: recordingLog().log });
    await expect(port.listen(host, number)).rejects.toThrow(expected);
  });
});

describe("every response", () => {
  test("forbids browsers to guess its type", async () => {
    await using port = await startPort({ handler: sayVersion });
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":path": "/" });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    expect(headers["x-content-type-options"]).toBe("nosniff");
  });

  test("is a plain 500 when the handler throws, and the cause is logged", async () => {
    await using port = await startPort({
      handler: () => {
        throw new Error("the cause");
      },
    });
    expect(await fetchHttp1(port.origin)).toBe('{"error":"internal error"}');
    using session = connectHttp2(port.origin);
    expect(await fetchHttp2(session)).toBe('{"error":"internal error"}');
    expect(port.lines).toMatchObject([{ err: { message: "the cause" } }, { err: { message: "the cause" } }]);
  });
});

describe("a client that is slow or silent", () => {
  test("gets 408 for half a request line", async () => {
    await using port = await startPort({ handler: never, limits: { headersMs: 50, firstBytesMs: 20 } });
    using client = await port.connect();
    await client.send("GET /hal");
    expect((await client.closed()).toString()).toMatch(/^HTTP\/1\.1 408 /);
  });

  test("gets 408 for half a body, after the time for a whole request", async () => {
    await using port = await startPort({ handler: never, limits: { headersMs: 50, requestMs: 60 } });
    using client = await port.connect();
    await client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    expect((await client.closed()).toString()).toMatch(/^HTTP\/1\.1 408 /);
  });

  test("is cut if it stops in the middle of a body", async () => {
    await using port = await startPort({ handler: never, limits: { stalledMs: 30 } });
    using client = await port.connect();
    await client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    await client.closed();
  });

  test("is cut if it stops taking its response", async () => {
    const cut = gate();
    const endless: Handler = (_request, response) => {
      write(response, Buffer.alloc(8 * 1024 * 1024));
      response.on("close", cut.open);
    };
    await using port = await startPort({ handler: endless, limits: { stalledMs: 50 } });
    const socket = http.get(port.origin).on("error", () => {});
    // Never read.
    socket.on("response", (response) => response.pause());
    await cut.opened;
  });

  test("is cut on HTTP/2 if it stops taking its response", async () => {
    await using port = await startPort({
      handler: (_request, response) => write(response, Buffer.alloc(1024 * 1024)),
      limits: { stalledMs: 50 },
    });
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":path": "/" });
    await once(stream, "close");
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
  });

  test("has its stream ended if it sends half a request, and the session goes on", async () => {
    await using port = await startPort({ handler: sayVersion, limits: { stalledMs: 30 } });
    using session = connectHttp2(port.origin);
    const half = session.request({ ":method": "POST", ":path": "/" });
    half.on("error", () => {});
    half.write("half");
    await once(half, "close");
    expect(half.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    expect(await fetchHttp2(session)).toBe("GET over 2.0");
  });

  test("has its stream ended after the time for a whole request even if it keeps dripping", async () => {
    await using port = await startPort({
      handler: sayVersion,
      limits: { headersMs: 50, requestMs: 100, stalledMs: 60_000 },
    });
    using session = connectHttp2(port.origin);
    const drip = session.request({ ":method": "POST", ":path": "/" });
    drip.on("error", () => {});
    const dripping = setInterval(() => drip.write("."), 5);
    await once(drip, "close");
    clearInterval(dripping);
    expect(drip.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
  });

  test.each([
    ["only opens an HTTP/2 session", Buffer.concat([preface, settings()])],
    ["sends only the preface", preface],
    ["has had its answer", Buffer.concat([preface, settings(), get(1, "/")])],
  ])("is told to go and cut if it %s", async (_, bytes) => {
    await using port = await startPort({ handler: sayVersion, limits: { sessionIdleMs: 40, lingerMs: 20 } });
    using client = await openSocket(port.number, { stubborn: true });
    await client.send(bytes);
    const frames = [...framesIn(await client.closed())];
    expect(frames.map(({ type }) => type)).toContain(frameType.goaway);
  });

  test("is told to go and cut if its only stream had to be ended while the session looked idle", async () => {
    await using port = await startPort({
      handler: never,
      limits: { sessionIdleMs: 20, stalledMs: 60, lingerMs: 20 },
    });
    using client = await port.connect();
    await client.send(Buffer.concat([preface, settings(), get(1, "/", { open: true })]));
    const types = [...framesIn(await client.closed())].map(({ type }) => type);
    expect(types.filter((type) => type !== frameType.settings).slice(0, 2)).toEqual([
      frameType.reset,
      frameType.goaway,
    ]);
  });

  test("frees its session at once if it hangs up", async () => {
    await using port = await startPort({ handler: sayVersion });
    using client = await port.connect();
    await client.send(Buffer.concat([preface, settings()]));
    await client.until((received) => received.length > 0);
    client.end();
    await client.closed();
  });
});

test("a response that waits for its handler is quiet by right", async () => {
  const news = gate();
  await using port = await startPort({
    handler: (request, response) => {
      write(response, "old");
      request.resume();
      void news.opened.then(() => response.end("new"));
    },
    limits: { stalledMs: 20, sessionIdleMs: 20, keepAliveMs: 20, headersMs: 20, requestMs: 30 },
  });
  using session = connectHttp2(port.origin);
  const overHttp2 = [
    fetchHttp2(session),
    text(session.request({ ":path": "/", ":method": "POST" }).end("body")),
  ];
  using client = await port.connect();
  await client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody");
  await client.until((received) => received.includes("old"));
  // Clients that came later, and are in the wrong, are cut first: the limits have passed.
  for (let i = 0; i < 3; i++) {
    using stalled = await port.connect();
    await stalled.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    await stalled.closed();
  }
  news.open();
  expect(await Promise.all(overHttp2)).toEqual(["oldnew", "oldnew"]);
  expect((await client.closed()).toString()).toMatch(/old\r\n3\r\nnew/);
});

describe("a greedy client", () => {
  test("gets 431 for headers beyond the limit, and a reset once HTTP/2 has settled", async () => {
    await using port = await startPort({ handler: sayVersion });
    const large = { "x-large": "a".repeat(17 * 1024) };
    const [response] = (await once(http.get(port.origin, { headers: large }), "response")) as [
      http.IncomingMessage,
    ];
    expect(response.resume().statusCode).toBe(431);
    using session = connectHttp2(port.origin);
    const [headers] = (await once(session.request({ ":path": "/", ...large }), "response")) as [
      http2.IncomingHttpHeaders,
    ];
    expect(headers[":status"]).toBe(431);
    await fetchHttp2(session);
    const [error] = (await once(session.request({ ":path": "/", ...large }), "error")) as [Error];
    expect(error.message).toBe("Stream closed with error code NGHTTP2_ENHANCE_YOUR_CALM");
  });

  test.each([
    [900, 100],
    [5_000, 0],
  ])("has at most 100 of %i streams running, and a neighbour does not feel it", async (streams, least) => {
    let held = 0;
    const handler: Handler = (request, response) => {
      if (request.url === "/hold") held += 1;
      else response.end("quick");
    };
    await using port = await startPort({ handler });
    using neighbour = connectHttp2(port.origin);
    const alone = await medianOf(40, () => fetchHttp2(neighbour));

    using greedy = await port.connect();
    const flood = Array.from({ length: streams }, (_, i) => get(2 * i + 1, "/hold", { open: true }));
    const flooding = greedy.send(Buffer.concat([preface, settings(), ...flood]));
    const besideFlood = await medianOf(40, () => fetchHttp2(neighbour));
    await flooding;

    // So many at once that Node hangs up may not have begun at all.
    expect(held).toBeLessThanOrEqual(100);
    expect(held).toBeGreaterThanOrEqual(least);
    expect(besideFlood / alone).toBeLessThan(20);
  });

  test("is cut for opening and resetting streams without end", async () => {
    let begun = 0;
    await using port = await startPort({ handler: () => void (begun += 1) });
    using greedy = await port.connect();
    const flood = Array.from({ length: 5_000 }, (_, i) => [
      get(2 * i + 1, "/", { open: true }),
      reset(2 * i + 1),
    ]);
    await greedy.send(Buffer.concat([preface, settings(), ...flood.flat()]));
    await greedy.closed();
    expect(begun).toBeLessThan(2_500);
  });

  test("is cut for sending settings without end", async () => {
    await using port = await startPort({ handler: never });
    using greedy = await port.connect();
    // Each asks for an acknowledgement.
    const flood = Buffer.concat([preface, ...Array.from({ length: 20_000 }, settings)]);
    await greedy.send(flood);
    await greedy.closed();
  });

  test("is cut for a longer pipeline than it may have streams", async () => {
    let begun = 0;
    await using port = await startPort({
      handler: () => void (begun += 1),
      limits: { requestsPerConnection: 10 },
    });
    using greedy = await port.connect();
    await greedy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000));
    await greedy.closed();
    expect(begun).toBe(10);
  });

  test("may pipeline within the limit, again and again", async () => {
    await using port = await startPort({
      handler: (_request, response) => void response.end("."),
      limits: { requestsPerConnection: 10 },
    });
    using client = await port.connect();
    for (let round = 1; round <= 3; round++) {
      await client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(10));
      await client.until((received) => received.toString().split("HTTP/1.1 200 OK").length > round * 10);
    }
  });

  test("is cut if it goes on sending a body that was refused", async () => {
    const refuse: Handler = (_request, response) => {
      response.statusCode = 401;
      response.end();
    };
    await using port = await startPort({ handler: refuse, limits: { lingerMs: 30 } });
    using client = await port.connect();
    await client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n");
    const dripping = setInterval(() => void client.send("."), 5);
    expect((await client.closed()).toString()).toMatch(/^HTTP\/1\.1 401 /);
    clearInterval(dripping);
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":method": "POST", ":path": "/" });
    await once(stream.resume(), "close");
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
  });

  test("finds the port closed when too many connections are open, until one ends", async () => {
    await using port = await startPort({ handler: sayVersion, limits: { connections: 1 } });
    const only = await port.connect();
    using refused = await port.connect();
    await refused.closed();
    only[Symbol.dispose]();
    await only.closed();
    expect(await fetchHttp1(port.origin)).toBe("GET over 1.1");
  });
});

async function medianOf(times: number, work: () => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await work();
    took.push(performance.now() - start);
  }
  return took.sort((a, b) => a - b)[times >> 1] ?? Number.NaN;
}
