import { randomBytes, timingSafeEqual } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** A small HTTP service that asks for a Bearer token, so that there is something to call on the first day. */
export interface Demo {
  readonly baseUrl: string;
  readonly token: string;
  close(): Promise<void>;
}

/** Where the demo listens and what it asks for; kept, so that its connection still fits after a restart. */
interface Settings {
  readonly port: number;
  readonly token: string;
}

const host = "127.0.0.1";

/** Starts a new demo service, on a free port and with a token of its own. */
export function newDemo(): Promise<Demo> {
  return serve({ port: 0, token: randomBytes(24).toString("base64url") });
}

/** Keeps what `reopenDemo` needs. */
export async function rememberDemo(dataDir: string, { baseUrl, token }: Demo): Promise<void> {
  const settings: Settings = { port: Number(new URL(baseUrl).port), token };
  await writeFile(fileIn(dataDir), `${JSON.stringify(settings)}\n`, { mode: 0o600 });
}

/** Starts the demo service that is remembered in the data folder; undefined if there is none. */
export async function reopenDemo(dataDir: string): Promise<Demo | undefined> {
  const text = await readFile(fileIn(dataDir), "utf8").catch(() => undefined);
  return text === undefined ? undefined : serve(JSON.parse(text) as Settings);
}

function fileIn(dataDir: string): string {
  return join(dataDir, "demo.json");
}

async function serve({ port, token }: Settings): Promise<Demo> {
  const server = createServer((request, response) => {
    const allowed = presents(request, token);
    const answer = allowed ? greeting(request, token) : { error: "this demo asks for its Bearer token" };
    // Reading to the end lets the caller send its whole body before the answer.
    request.resume().once("end", () => {
      response.writeHead(allowed ? 200 : 401, { "content-type": "application/json" });
      response.end(JSON.stringify(answer));
    });
  });
  await listen(server, port);
  return {
    baseUrl: `http://${host}:${(server.address() as AddressInfo).port}`,
    token,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve());
  });
}

function presents(request: IncomingMessage, token: string): boolean {
  const given = Buffer.from(request.headers.authorization ?? "");
  const expected = Buffer.from(`Bearer ${token}`);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function greeting(request: IncomingMessage, token: string) {
  return {
    message: "hello from the demo service",
    method: request.method,
    path: request.url,
    credential: `a Bearer token of ${token.length} characters, which you never saw`,
  };
}
