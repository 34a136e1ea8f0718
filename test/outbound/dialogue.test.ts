import { readFileSync } from "node:fs";
import { createSecureServer, createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { createServer as createHttp1 } from "node:http";
import type { AddressInfo } from "node:net";
import { setDefaultCACertificates } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { GrpcStatus, type DialogueRequest } from "#src/outbound/dialogue.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import type { Injection } from "#src/outbound/injection.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { fakeLookup, localNetwork } from "./network.ts";
import { brokenUrls, deniedHosts } from "./ssrf-vectors.ts";

const secret = "a-secret-that-is-long-enough";
const credential: Injection = {
  headers: { authorization: `Bearer ${secret}` },
  query: {},
  cookies: {},
  body: {},
  secrets: [secret],
};

const opened: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0)) await close();
});

type Serve = (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void;

/** A server whose calls are served so. */
async function startServer(serve: Serve, server: Http2Server = createServer()): Promise<number> {
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    serve(stream, headers);
  });
  server.on("session", (session) => opened.push(() => session.destroy()));
  server.on("sessionError", () => {});
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  opened.push(() => new Promise((closed) => void server.close(() => closed(undefined))));
  return (server.address() as AddressInfo).port;
}

function open(
  baseUrl: string,
  more: Partial<DialogueRequest> = {},
  injection: Partial<Injection> = {},
  allow = "127.0.0.1",
) {
  const network = localNetwork();
  const { lookup } = fakeLookup({ "bank.test": ["127.0.0.1"], "inside.test": ["10.0.0.1"] });
  const outbound = createOutbound({ allow: parseOutboundAllow(allow), lookup, connect: network.connect });
  opened.push(() => outbound.close());
  const opening = outbound.openDialogue({
    share: "acme",
    baseUrl,
    path: "/p.S/M",
    credential: { boundTo: baseUrl, reveal: () => ({ ...credential, ...injection }) },
    maxAnswerBytes: 1024,
    hold: () => {},
    signal: new AbortController().signal,
    ...more,
  });
  return { opening, dialled: network.dialled };
}

const grpc = { ":status": 200, "content-type": "application/grpc" };
const frame = (text: string, flags = 0, length = text.length) => {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, Buffer.from(text)]);
};

/** Answers each question with itself and a mark. */
const echo: Serve = (stream) => {
  stream.respond(grpc);
  stream.on("data", (bytes: Buffer) => stream.write(frame(`${bytes.subarray(5).toString()}!`)));
};

/** What the first question comes to. */
async function outcome(serve: Serve, more: Partial<DialogueRequest> = {}): Promise<unknown> {
  const { opening } = open(`http://127.0.0.1:${await startServer(serve)}`, more);
  using dialogue = await opening;
  return await dialogue.ask(Buffer.from("one")).then(
    (answer) => answer.toString(),
    (error: unknown) => error,
  );
}

describe("a call that goes back and forth", () => {
  test("asks one question after another, below the base URL and with the credential", async () => {
    const seen: unknown[] = [];
    const port = await startServer((stream, headers) => {
      seen.push(headers[":path"], headers["authorization"], headers["te"], headers["content-type"]);
      echo(stream, headers);
    });
    const { opening } = open(`http://127.0.0.1:${port}/below`, {}, { query: { key: secret } });
    using dialogue = await opening;
    expect((await dialogue.ask(Buffer.from("one"))).toString()).toBe("one!");
    expect((await dialogue.ask(Buffer.from("two"))).toString()).toBe("two!");
    expect(seen).toEqual([`/below/p.S/M?key=${secret}`, `Bearer ${secret}`, "trailers", "application/grpc"]);
  });

  test("is made over TLS as well", async () => {
    const [key, cert] = ["key", "cert"].map((kind) =>
      readFileSync(new URL(`../net/test-only.${kind}.pem`, import.meta.url)),
    );
    setDefaultCACertificates([String(cert)]);
    opened.push(() => setDefaultCACertificates([]));
    const port = await startServer(echo, createSecureServer({ key: key!, cert: cert! }));
    using dialogue = await open(`https://127.0.0.1:${port}`).opening;
    expect((await dialogue.ask(Buffer.from("one"))).toString()).toBe("one!");
  });

  test("closes its socket in the end", async () => {
    const server = createServer();
    const closed = new Promise<void>((resolve) =>
      server.on("session", (session) => session.on("close", () => resolve())),
    );
    const port = await startServer(echo, server);
    const dialogue = await open(`http://127.0.0.1:${port}`).opening;
    await dialogue.ask(Buffer.from("one"));
    dialogue[Symbol.dispose]();
    await closed;
  });

  test("takes an answer that comes byte by byte", async () => {
    const answered = await outcome((stream) => {
      stream.respond(grpc);
      for (const byte of frame("slow")) stream.write(Buffer.of(byte));
    });
    expect(answered).toBe("slow");
  });
});

describe("an answer is refused", () => {
  test.each<[what: string, serve: Serve, expected: unknown]>([
    [
      "that is larger than may be",
      (stream) => (stream.respond(grpc), stream.write(frame("", 0, 1025))),
      { reason: "UPSTREAM_UNREACHABLE" },
    ],
    [
      "whose bytes are more than may be",
      (stream) => (stream.respond(grpc), stream.write(frame("a".repeat(1024), 0, 1024))),
      { reason: "UPSTREAM_TOO_LARGE" },
    ],
    [
      "that is compressed",
      (stream) => (stream.respond(grpc), stream.write(frame("a", 1))),
      { reason: "UPSTREAM_UNREACHABLE", message: expect.stringContaining("compression") as unknown },
    ],
    [
      "with a second one behind it",
      (stream) => (stream.respond(grpc), stream.write(Buffer.concat([frame("a"), frame("b")]))),
      { message: expect.stringContaining("what it was not asked") as unknown },
    ],
    [
      "that repeats the credential",
      (stream) => (stream.respond(grpc), stream.write(frame(`no: ${secret}`))),
      { reason: "CREDENTIAL_REFLECTED" },
    ],
    [
      "that is a page",
      (stream) => (stream.respond({ ":status": 200, "content-type": "text/html" }), stream.end("<p>")),
      { reason: "UPSTREAM_UNREACHABLE", message: expect.stringContaining("does not speak gRPC") as unknown },
    ],
    ["that breaks off", (stream) => stream.session?.destroy(), { reason: "UPSTREAM_UNREACHABLE" }],
    ["that is a reset", (stream) => stream.close(2), { reason: "UPSTREAM_UNREACHABLE" }],
  ])("%s", async (_, serve, expected) => {
    expect(await outcome(serve)).toMatchObject(expected as object);
  });

  test("that does not come in time", async () => {
    expect(await outcome((stream) => stream.respond(grpc), { timeoutMs: 50 })).toMatchObject({
      reason: "UPSTREAM_TIMEOUT",
    });
  });

  test("when its caller leaves, whose reason it is", async () => {
    const leaving = new AbortController();
    const why = new Error("left");
    const answered = outcome((stream) => (stream.respond(grpc), leaving.abort(why)), {
      signal: leaving.signal,
    });
    expect(await answered).toBe(why);
  });
});

test.each<[where: string, Serve]>([
  ["in its head", (stream) => stream.respond({ ...grpc, "grpc-status": "12" }, { endStream: true })],
  ["as a page of HTTP", (stream) => (stream.respond({ ":status": 404 }), stream.end(secret))],
  [
    "in its trailers",
    (stream) => {
      stream.respond(grpc, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "12", "grpc-message": secret }));
      stream.end();
    },
  ],
])("a status of gRPC ends the call, %s", async (_, serve) => {
  const status = await outcome(serve);
  expect(status).toBeInstanceOf(GrpcStatus);
  expect(status).toMatchObject({ code: 12, message: expect.not.stringContaining(secret) as unknown });
});

test("a server of HTTP/1.1 alone is told apart", async () => {
  const server = createHttp1((_, response) => response.end("hello"));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  opened.push(() => new Promise((closed) => void server.close(() => closed(undefined))));
  const { port } = server.address() as AddressInfo;
  using dialogue = await open(`http://127.0.0.1:${port}`).opening;
  await expect(dialogue.ask(Buffer.from("one"))).rejects.toMatchObject({
    reason: "UPSTREAM_UNREACHABLE",
    message: expect.stringContaining("HTTP/2") as unknown,
  });
});

describe("nothing is connected to", () => {
  const urls = [...deniedHosts.map(([, host]) => `http://${host}/`), ...brokenUrls.map(([, url]) => url)];
  test.each(urls)("at %s", async (url) => {
    const { opening, dialled } = open(url, {}, {}, "");
    await expect(opening).rejects.toMatchObject({
      reason: expect.stringMatching(/^(ADDRESS_DENIED|INVALID_BASE_URL)$/) as unknown,
    });
    expect(dialled).toEqual([]);
  });

  test("whose name leads inside", async () => {
    const { opening, dialled } = open("http://inside.test");
    await expect(opening).rejects.toMatchObject({ reason: "ADDRESS_DENIED" });
    expect(dialled).toEqual([]);
  });

  test("with a credential that goes elsewhere, or into a body", async () => {
    const elsewhere = { boundTo: "http://127.0.0.1:1", reveal: () => credential };
    const refused = { reason: "INVALID_OUTBOUND_REQUEST" };
    await expect(open("http://127.0.0.1:2", { credential: elsewhere }).opening).rejects.toMatchObject(
      refused,
    );
    await expect(open("http://127.0.0.1:2", {}, { body: { key: secret } }).opening).rejects.toMatchObject(
      refused,
    );
  });
});
