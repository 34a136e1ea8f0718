import { once } from "node:events";
import {
  connect as connectTcp,
  createServer,
  isIP,
  Socket,
  type AddressInfo,
  type LookupFunction,
} from "node:net";
import ipaddr from "ipaddr.js";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import type { Connect } from "#src/outbound/connector.ts";
import { createOutbound, type OutboundRequest } from "#src/outbound/outbound.ts";

/** A server that counts who comes and notes what they say. */
export interface Upstream extends AsyncDisposable {
  readonly port: number;
  readonly origin: string;
  /** Connections that were accepted. */
  connections: number;
  /** What came in over all of them, as latin1. */
  received: string;
  /** Resolves once nobody is connected any more. */
  abandoned(): Promise<void>;
}

/** Answers a request on the raw socket; called once its head, and the body it announces, are there. */
export type Answer = string | Buffer | ((socket: Socket, request: string) => void);

/** A server on every local address, IPv4 and IPv6, that speaks through a raw socket and so can say anything. */
export async function startUpstream(answer: Answer): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    upstream.connections++;
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    let request = "";
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      upstream.received += text;
      request += text;
      if (!isComplete(request)) return;
      const whole = request;
      request = "";
      if (typeof answer === "function") answer(socket, whole);
      else socket.write(answer);
    });
  });
  server.listen(0, "::");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const upstream: Upstream = {
    port,
    origin: `http://127.0.0.1:${port}`,
    connections: 0,
    received: "",
    async abandoned() {
      for (const socket of sockets) await new Promise((resolve) => socket.once("close", resolve));
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return upstream;
}

function isComplete(request: string): boolean {
  const end = request.indexOf("\r\n\r\n");
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(request)?.[1] ?? "0";
  return end !== -1 && request.length >= end + 4 + Number(length);
}

/** An HTTP answer with its length. */
export function response(body: string | Buffer, headers = "", status = "200 OK"): Buffer {
  const bytes = Buffer.from(body);
  const head = `HTTP/1.1 ${status}\r\ncontent-length: ${bytes.length}\r\n${headers}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), bytes]);
}

/** A lookup that answers from a list, and counts; a function's answer may change from call to call. */
export function fakeLookup(zone: Record<string, readonly string[] | (() => readonly string[])>) {
  const asked: string[] = [];
  const lookup: LookupFunction = (host, _options, callback) => {
    asked.push(host);
    const entry = zone[host];
    const addresses = typeof entry === "function" ? entry() : entry;
    process.nextTick(() => {
      if (addresses === undefined) callback(failure("ENOTFOUND"), []);
      else
        callback(
          null,
          addresses.map((address) => ({ address, family: isIP(address) })),
        );
    });
  };
  return { asked, lookup };
}

/**
 * Connects on this machine only: what would leave it is noted and refused, so that a hole in the checks
 * fails a test and sends nothing out.
 */
export function localNetwork() {
  const dialled: string[] = [];
  const connect: Connect = (options) => {
    if (isIP(options.host ?? "") !== 0) {
      dialled.push(options.host!);
      return isLocal(options.host!) ? connectTcp(options) : refusedSocket();
    }
    const lookup: LookupFunction = (host, lookupOptions, callback) => {
      options.lookup!(host, lookupOptions, (error, answer) => {
        if (error) return callback(error, []);
        const addresses = (answer as { address: string }[]).map(({ address }) => address);
        dialled.push(...addresses);
        if (!addresses.every(isLocal)) return callback(failure("ECONNREFUSED"), []);
        callback(null, answer);
      });
    };
    return connectTcp({ ...options, lookup });
  };
  return { dialled, connect };
}

function isLocal(address: string): boolean {
  return ["loopback", "unspecified"].includes(ipaddr.process(address).range());
}

function refusedSocket(): Socket {
  const socket = new Socket();
  process.nextTick(() => socket.destroy(failure("ECONNREFUSED")));
  return socket;
}

function failure(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code} with a text that names 10.1.2.3`), { code });
}

/** A client that may call this machine. */
export function localClient(options: Partial<Parameters<typeof createOutbound>[0]> = {}) {
  const outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.0/8,::1"), ...options });
  return {
    get: (baseUrl: string, more: Partial<OutboundRequest> = {}) =>
      outbound.send({ share: "acme", baseUrl, method: "GET", path: "/", ...more }),
    close: () => outbound.close(),
    [Symbol.asyncDispose]: () => outbound.close(),
  };
}
