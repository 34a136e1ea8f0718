import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { patchbay, temporaryFolder, type Patchbay } from "../cli/patchbay.ts";
import { presenter } from "./service.ts";

const mebibyte = 1024 * 1024;

/** The service as a process of its own, so that its memory is its own too. */
export async function startProcess(databaseUrl: string, budgetMib: number, more: readonly string[] = []) {
  const folder = await temporaryFolder();
  const service = patchbay(
    ["start", "--port", "0", "--data-dir", folder.path, "--memory-budget-mib", String(budgetMib), ...more],
    { env: { DATABASE_URL: databaseUrl, PATCHBAY_ROOT_KEY: Buffer.alloc(32, 1).toString("base64") } },
  );
  const url = await service.ready();
  const key = (await readFile(join(folder.path, "admin-key"), "utf8")).trim();
  return {
    service,
    url,
    admin: presenter(url, key),
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A service that answers 10 KB, of which 9.9 MiB come out. */
async function startBomb() {
  const bomb = gzipSync(Buffer.alloc(9.9 * mebibyte, "x"));
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" }).end(bomb);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** What a process holds of memory. */
export async function residentMib({ pid }: Patchbay): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

/** Makes a call and reads the head of its answer, and nothing more. Answers the status. */
function callAndStopReading(url: string, secret: string, opened: Socket[]): Promise<number | "cut"> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  opened.push(socket);
  const body = JSON.stringify({ service: "custom:bomb", method: "GET", path: "/" });
  socket.write(
    `POST /api/service-calls HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${secret}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  return new Promise((resolve) => {
    socket.once("data", (head: Buffer) => {
      socket.pause();
      resolve(Number(head.toString("latin1").slice(9, 12)));
    });
    socket.once("close", () => resolve("cut"));
    socket.once("error", () => resolve("cut"));
  });
}

/** What a flood did to the service. */
export interface Flood {
  /** How the calls ended, as far as their callers read. */
  readonly statuses: readonly (number | "cut")[];
  /** What the service held at most, beyond what it held before. */
  readonly growthMib: number;
  /** How another caller was answered meanwhile. */
  readonly neighbour: readonly number[];
  readonly slowestNeighbourMs: number;
  /** How a call is answered once the callers have gone. */
  readonly afterwards: number;
  readonly log: string;
}

/** Callers of one key who ask for large answers, and read of each no more than its head. */
export async function flood(databaseUrl: string, budgetMib: number, calls: number): Promise<Flood> {
  await using running = await startProcess(databaseUrl, budgetMib);
  await using bomb = await startBomb();
  const { service, url, admin } = running;
  const wanted = { serviceSlug: "custom:bomb", baseUrl: bomb.url, apiKey: "a-key-of-the-bomb" };
  await admin.client.connections.upsertServiceConnection(wanted);
  const { apiKeys } = admin.client;
  const { secret } = await apiKeys.createApiKey({ name: "flood", scopes: ["connections:use"] });
  const other = await apiKeys.createApiKey({ name: "neighbour", scopes: ["connections:view"] });
  const neighbour = presenter(url, other.secret);
  const callOnce = async () =>
    (await admin.rest("POST", "/api/service-calls", { service: "custom:bomb", method: "GET", path: "/" }))
      .status;
  // What the first call loads is no part of the flood.
  await callOnce();
  const before = await residentMib(service);

  const opened: Socket[] = [];
  const answers: { status: number; ms: number }[] = [];
  let peak = before;
  const under = Array.from({ length: calls }, () => callAndStopReading(url, secret, opened));
  const ended = Promise.all(under);
  const isOver = ended.then(() => true as const);
  for (;;) {
    const startedAt = performance.now();
    const { status } = await neighbour.rest("GET", "/api/service-connections");
    answers.push({ status, ms: performance.now() - startedAt });
    peak = Math.max(peak, await residentMib(service));
    if (await Promise.race([isOver, soon()])) break;
  }
  for (const socket of opened) socket.destroy();
  let afterwards = await callOnce();
  for (let tries = 0; afterwards !== 200 && tries < 100; tries++) afterwards = await callOnce();
  return {
    statuses: await ended,
    growthMib: peak - before,
    neighbour: answers.map(({ status }) => status),
    slowestNeighbourMs: Math.max(...answers.map(({ ms }) => ms)),
    afterwards,
    log: service.stdout(),
  };
}

async function soon(): Promise<false> {
  await setImmediate();
  return false;
}
