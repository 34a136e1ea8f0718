import { create, toBinary } from "@bufbuild/protobuf";
import { once } from "node:events";
import http2 from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CallServiceRequestSchema } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { startSlowUpstream, type SlowUpstream } from "../interop/support.ts";
import { startService, type TestService } from "../support/service.ts";
import { preface, settings } from "./http2-frames.ts";
import { testTls } from "./support.ts";

let upstream: SlowUpstream;
beforeAll(async () => {
  upstream = await startSlowUpstream();
});
afterAll(() => upstream[Symbol.asyncDispose]());

/** A client that does one thing wrong, and is over when the promise is. */
type Misdeed = (service: TestService) => Promise<void>;

const callService = "/patchbay.connections.v1.ConnectionService/CallService";
const whoAmI = "/patchbay.apikeys.v1.ApiKeyService/WhoAmI";
const watchRevocations = "/patchbay.verification.v1.VerificationService/WatchRevocations";
const watchHealth = "/grpc.health.v1.Health/Watch";
const reflect = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

let calls = 0;
/** A request that is answered when the upstream answers, which it never does; and the moment it gets there. */
function slowCall() {
  const path = `/call-${calls++}`;
  const fields = { service: "custom:slow", method: "GET", path };
  return { arrived: () => upstream.call(path), json: JSON.stringify(fields), binary: toBinary(CallServiceRequestSchema, create(CallServiceRequestSchema, fields)) }; // prettier-ignore
}

/** A request that is passed on to the upstream, which never answers; and the moment it gets there. */
function passedOn() {
  const path = `/call-${calls++}`;
  return { arrived: () => upstream.call(path), path: `/api/connections/custom:slow/proxy${path}` };
}

function enveloped(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function socketTo({ url }: TestService): Socket {
  const { port, protocol } = new URL(url);
  const socket =
    protocol === "https:"
      ? connectTls({ port: Number(port), host: "127.0.0.1", ca: testTls.cert, ALPNProtocols: ["http/1.1"] })
      : connectTcp(Number(port), "127.0.0.1");
  return socket.on("error", () => {});
}

/** Sends these bytes, and hangs up in one of three ways once the server has done something about them. */
function bytes(
  sent: string | Buffer,
  how: "end" | "destroy" | "reset",
  until?: () => Promise<unknown>,
): Misdeed {
  return async (service) => {
    const socket = socketTo(service);
    socket.write(sent);
    await (until === undefined
      ? Promise.race([once(socket, "data"), once(socket, "close"), turn()])
      : until());
    if (how === "end") socket.end();
    else if (how === "destroy" || "encrypted" in socket) socket.destroy();
    else socket.resetAndDestroy();
    if (!socket.closed) await once(socket.resume(), "close");
  };
}

function post(
  service: TestService,
  path: string,
  type: string,
  body: string | Uint8Array,
  announced = body.length,
) {
  const head = `POST ${path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${service.org.secret}\r\ncontent-type: ${type}\r\ncontent-length: ${announced}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body)]);
}

interface Asked {
  readonly tcp: Socket;
  readonly session: http2.ClientHttp2Session;
  readonly stream: http2.ClientHttp2Stream;
}

/** A stream of HTTP/2, on a session and a connection of its own. */
function ask(service: TestService, path: string, type: string): Asked {
  const tcp = connectTcp(Number(new URL(service.url).port), "127.0.0.1").on("error", () => {});
  const createConnection = () =>
    service.url.startsWith("https:")
      ? connectTls({ socket: tcp, ca: testTls.cert, ALPNProtocols: ["h2"] }).on("error", () => {})
      : tcp;
  const session = http2.connect(service.url, { createConnection }).on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": type,
    authorization: `Bearer ${service.org.secret}`,
    te: "trailers",
  });
  return { tcp, session, stream: stream.on("error", () => {}) };
}

const hangUps: [string, (asked: Asked) => void][] = [
  ...Array.from({ length: 14 }, (_, code): (typeof hangUps)[number] => [
    `resets the stream with code ${code}`,
    ({ session, stream }) => stream.close(code, () => session.close()),
  ]),
  [
    "resets the stream with a code that does not exist",
    ({ session, stream }) => stream.close(99, () => session.close()),
  ],
  [
    "closes the session with an error",
    ({ session }) => session.destroy(undefined, http2.constants.NGHTTP2_INTERNAL_ERROR),
  ],
  ["says goodbye with an error, and hangs up", ({ session, tcp }) => (session.goaway(2), tcp.end())],
  ["hangs up", ({ tcp }) => tcp.destroy()],
  ["resets the connection", ({ tcp }) => tcp.resetAndDestroy()],
];

const unary = ["application/grpc", "application/grpc-web+proto", "application/proto", "application/json"];

const moments: [string, (service: TestService) => Promise<Asked>][] = [
  ...[
    ...unary.map((type) => [type, callService] as const),
    ["application/json", "/api/service-calls"] as const,
  ].flatMap(([type, path]): typeof moments => [
    [
      `while its call to ${path} over ${type} runs`,
      async (service) => {
        const { arrived, json, binary } = slowCall();
        const asked = ask(service, path, type);
        asked.stream.end(type.endsWith("json") ? json : type.includes("grpc") ? enveloped(binary) : binary);
        await arrived();
        return asked;
      },
    ],
    [
      `in the middle of its message to ${path} over ${type}`,
      async (service) => {
        const asked = ask(service, path, type);
        asked.stream.write(Buffer.from([0, 0, 0, 1, 0, 7]));
        await once(asked.session, "remoteSettings");
        return asked;
      },
    ],
  ]),
  [
    "while its request is passed on",
    async (service) => {
      const { arrived, path } = passedOn();
      const asked = ask(service, path, "text/plain");
      asked.stream.end("a body");
      await arrived();
      return asked;
    },
  ],
  [
    "in the middle of a body that is passed on",
    async (service) => {
      const { arrived, path } = passedOn();
      const asked = ask(service, path, "text/plain");
      asked.stream.write("half of a body");
      await arrived();
      return asked;
    },
  ],
  ...[watchHealth, watchRevocations].map((path): (typeof moments)[number] => [
    `while it watches ${path}`,
    async (service) => {
      const asked = ask(service, path, "application/grpc");
      asked.stream.end(enveloped(new Uint8Array()));
      await once(asked.stream, "data");
      return asked;
    },
  ]),
  ...[Buffer.alloc(0), Buffer.from([0, 0, 0, 1, 0, 7])].map((rest): (typeof moments)[number] => [
    `between two questions to reflection, with ${rest.length} bytes of the second`,
    async (service) => {
      const asked = ask(service, reflect, "application/grpc");
      asked.stream.write(enveloped(Buffer.from([0x3a, 0])));
      await once(asked.stream, "data");
      asked.stream.write(rest);
      return asked;
    },
  ]),
];

const http1: [string, Misdeed][] = [
  ...(["end", "destroy", "reset"] as const).flatMap((how): typeof http1 => [
    [`half a request line, ${how}`, bytes("GET /hal", how)],
    [`half of the headers, ${how}`, bytes("GET / HTTP/1.1\r\nhost: a\r\nx", how)],
    [
      `a chunk that is none, ${how}`,
      bytes(`POST ${whoAmI} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n`, how),
    ],
    [
      `three requests and nonsense, ${how}`,
      bytes(`${"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3)}\0\r\n`, how),
    ],
    [`the start of HTTP/2 and nonsense, ${how}`, bytes(Buffer.concat([preface, Buffer.alloc(64, 7)]), how)],
    [
      `HTTP/2 with a frame that is too large, ${how}`,
      bytes(Buffer.concat([preface, settings(), Buffer.from([255, 255, 255, 0, 0, 0, 0, 0, 1])]), how),
    ],
    [`no host, ${how}`, bytes("GET / HTTP/1.1\r\n\r\n", how)],
    [`an expectation, ${how}`, bytes("GET / HTTP/1.1\r\nhost: a\r\nexpect: a miracle\r\n\r\n", how)],
    [`a tunnel, ${how}`, bytes("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", how)],
    [
      `an upgrade, ${how}`,
      bytes("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", how),
    ],
    [`headers without end, ${how}`, bytes(`GET / HTTP/1.1\r\nhost: a\r\nx: ${"a".repeat(20_000)}`, how)],
    [`a handshake of TLS, ${how}`, bytes(Buffer.from([22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]), how)],
    [
      `a chunk that is none behind one that is passed on, ${how}`,
      (service) => {
        const { arrived, path } = passedOn();
        const head = `POST ${path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${service.org.secret}\r\n`;
        return bytes(`${head}transfer-encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n`, how, arrived)(service);
      },
    ],
    [
      `half of a long body that is passed on, ${how}`,
      (service) => {
        const { arrived, path } = passedOn();
        return bytes(post(service, path, "text/plain", "half", 5_000_000), how, arrived)(service);
      },
    ],
    [
      `half of a short body that is to be passed on, ${how}`,
      (service) => bytes(post(service, passedOn().path, "text/plain", "half", 500), how)(service),
    ],
    [
      `a request that is passed on, ${how}`,
      (service) => {
        const { arrived, path } = passedOn();
        return bytes(post(service, path, "text/plain", "whole"), how, arrived)(service);
      },
    ],
    ...["/api/service-calls", callService].flatMap((path): typeof http1 => [
      [
        `half a body to ${path}, ${how}`,
        (service) => bytes(post(service, path, "application/json", '{"service":', 500), how)(service),
      ],
      [
        `a call to ${path} that runs, ${how}`,
        (service) => {
          const { arrived, json } = slowCall();
          return bytes(post(service, path, "application/json", json), how, arrived)(service);
        },
      ],
    ]),
  ]),
];

/** What a gRPC or Connect message may be that is none. */
const nonsense = [
  "", "\0", "\0\0\0\0", "\0\0\0\0\x01", "\0\0\0\0\x01\xff", "\x01\0\0\0\x02\x1f\x8b", "\x02\0\0\0\x02{}", "\x80\0\0\0\0",
  "\xff\xff\xff\xff\xff", "\0\xff\xff\xff\xff", "{", "[]", "null", '"\\ud800"', "\xff\xfe",
]; // prettier-ignore
const types = [
  "application/grpc", "application/grpc+json", "application/grpc+thrift", "application/grpc-web", "application/grpc-web-text",
  "application/connect+json", "application/connect+proto", "application/json", "application/proto", "text/plain", "",
]; // prettier-ignore
const oddHeaders: Record<string, string>[] = [
  { "content-encoding": "gzip" },
  { "grpc-encoding": "gzip" },
  { "grpc-encoding": "snappy" },
  { "connect-content-encoding": "br" },
  { "grpc-timeout": "0n" },
  { "grpc-timeout": "-1S" },
  { "connect-timeout-ms": "0" },
  { "connect-timeout-ms": "x" },
  { "connect-protocol-version": "9" },
];

async function sendNonsense(service: TestService): Promise<void> {
  for (const path of [
    whoAmI,
    callService,
    watchRevocations,
    watchHealth,
    reflect,
    "/api/service-calls",
    "/api/connections/custom:none/proxy/x",
    "/a.B/C",
  ]) {
    for (const type of types) await sendNonsenseTo(service, path, type);
  }
}

/** On a session of its own: the port ends one on which more streams are reset at once than it can have. */
async function sendNonsenseTo(service: TestService, path: string, type: string): Promise<void> {
  const session = http2.connect(service.url, { ca: testTls.cert });
  const send = (headers: Record<string, string>, body: string) =>
    new Promise((resolve) => {
      const asked = session.request({
        ":method": "POST",
        ":path": path,
        ...(type !== "" && { "content-type": type }),
        authorization: `Bearer ${service.org.secret}`,
        ...headers,
      });
      // Streams that watch would go on.
      asked.on("data", () => asked.close());
      asked.on("error", () => {}).once("close", resolve);
      asked.end(Buffer.from(body, "latin1"));
    });
  const sent = nonsense.map((body) => send({}, body));
  const odd = oddHeaders.flatMap((headers) => ["\0\0\0\0\0", "{}"].map((body) => send(headers, body)));
  await Promise.all([...sent, ...odd]);
  session.destroy();
}

async function statusOf({ session, stream }: Asked, body: object): Promise<number> {
  stream.end(JSON.stringify(body));
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
  session.destroy();
  return Number(headers[":status"]);
}

describe.each(["in clear text", "over TLS"])("%s, no client writes an error into the log", (transport) => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService({
      outboundAllow: "127.0.0.1",
      ...(transport === "over TLS" && { tls: testTls }),
    });
    const asked = { serviceSlug: "custom:slow", baseUrl: upstream.url, apiKey: "k" };
    expect(await statusOf(ask(service, "/api/service-connections", "application/json"), asked)).toBe(201);
  });
  afterAll(() => service[Symbol.asyncDispose]());

  /** What was logged as a warning or worse, when all is over. */
  async function errors(): Promise<unknown[]> {
    // Whoever asks next is answered after what came before was given up.
    expect(await statusOf(ask(service, whoAmI, "application/json"), {})).toBe(200);
    for (let i = 0; i < 10; i++) await turn();
    const lines = service.logged().trim().split("\n");
    return lines.map((line) => JSON.parse(line) as { level: number }).filter(({ level }) => level >= 40);
  }

  test.each(hangUps)("who %s", async (_, hangUp) => {
    for (const [, reach] of moments) {
      const asked = await reach(service);
      hangUp(asked);
      if (!asked.tcp.closed) await once(asked.tcp, "close");
      asked.session.destroy();
    }
    expect(await errors()).toEqual([]);
  });

  test("who breaks HTTP/1.1, or breaks off", async () => {
    for (const [, misdeed] of http1) await misdeed(service);
    expect(await errors()).toEqual([]);
  });

  test("who sends what is no message, with whatever headers", async () => {
    await sendNonsense(service);
    expect(await errors()).toEqual([]);
  });
});
