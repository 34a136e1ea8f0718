import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { connect, type Socket } from "node:net";
import { dirname } from "node:path";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import type { Response } from "#src/platform/http.ts";
import { createPort, type PortOptions } from "#src/net/port.ts";

/** Protects nothing: it is public. Good for localhost until the year 2125. */
export const testTls = {
  cert: readFileSync(new URL("test-only.cert.pem", import.meta.url)),
  key: readFileSync(new URL("test-only.key.pem", import.meta.url)),
};

/** A log that keeps its lines, as parsed JSON. */
export function recordingLog() {
  const lines: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().trimEnd().split("\n"))
        lines.push(JSON.parse(line) as Record<string, unknown>);
      done();
    },
  });
  return { lines, log: pino({ level: "trace" }, destination) };
}

/** A port of its own for a test. It is gone when the test is. */
export async function startPort(options: Pick<PortOptions, "handler"> & Partial<PortOptions>) {
  const { lines, log } = recordingLog();
  const port = createPort({ log, ...options });
  const { port: number } = await port.listen("127.0.0.1", 0);
  return {
    lines,
    number,
    origin: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${number}`,
    drain: (graceMs: number) => port.drain(graceMs),
    connect: () => openSocket(number),
    async [Symbol.asyncDispose]() {
      await port.drain(0);
    },
  };
}

/** A client that sends what it is told, byte by byte if need be. */
export interface RawClient extends Disposable {
  send(bytes: string | Buffer): Promise<void>;
  /** Ends our half of the connection. */
  end(): void;
  received(): Buffer;
  /** Waits until what was received satisfies the condition. */
  until(holds: (received: Buffer) => boolean): Promise<Buffer>;
  /** Waits until the server hung up, and answers all that it sent. */
  closed(): Promise<Buffer>;
}

/**
 * Opens a connection and sends nothing yet. A stubborn client keeps its half of the connection when the server
 * closes the other, and sends on until it is refused.
 */
export async function openSocket(port: number, { stubborn = false } = {}): Promise<RawClient> {
  const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: stubborn });
  socket.once("end", () => {
    if (!stubborn) return;
    const sending = setInterval(() => socket.write("."), 5);
    socket.once("close", () => clearInterval(sending));
  });
  let received = Buffer.alloc(0);
  const gone = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
  });
  // A reset is one way for a server to hang up.
  socket.on("error", () => {});
  await once(socket, "connect");
  return {
    send: (bytes) => new Promise((resolve) => socket.write(bytes, () => resolve())),
    end: () => socket.end(),
    received: () => received,
    async until(holds) {
      while (!holds(received)) {
        if (socket.closed)
          throw new Error(`the server hung up after ${JSON.stringify(received.toString("latin1"))}`);
        await Promise.race([once(socket, "data"), gone]);
      }
      return received;
    },
    async closed() {
      await gone;
      return received;
    },
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** A promise and the function that fulfils it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** The body of `GET /` over HTTP/1.1. */
export async function fetchHttp1(origin: string, agent?: http.Agent): Promise<string> {
  const request = origin.startsWith("https:")
    ? https.get(origin, { ca: testTls.cert, agent })
    : http.get(origin, { agent });
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  return text(response);
}

/** An agent that keeps its connections, for this test only. */
export function disposableAgent(module: typeof http | typeof https = http): http.Agent & Disposable {
  const agent = new module.Agent({ keepAlive: true });
  return Object.assign(agent, { [Symbol.dispose]: () => agent.destroy() });
}

/** An HTTP/2 session, for this test only. */
export function connectHttp2(origin: string): http2.ClientHttp2Session & Disposable {
  const session = http2.connect(origin, { ca: testTls.cert });
  return Object.assign(session, { [Symbol.dispose]: () => session.destroy() });
}

/** The body of `GET /` on a session. */
export async function fetchHttp2(session: http2.ClientHttp2Session): Promise<string> {
  return text(session.request({ ":path": "/" }));
}

/** A port in a process of its own, whose first line of output is the number of its port. */
export async function startProcess(command: string, ...args: string[]) {
  const path = `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`;
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PATH: path },
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(line.toString());
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await once(child, "close");
    },
  };
}

/** Sends a part of the response. The two kinds of response take the same call, but not by their types. */
export function write(response: Response, chunk: string | Buffer): void {
  (response as http.ServerResponse).write(chunk);
}
