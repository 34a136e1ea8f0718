import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { patchbay, temporaryFolder, type Patchbay } from "../cli/patchbay.ts";
import { presenter } from "../support/service.ts";
import { createTestDatabase } from "../support/postgres.ts";

const mebibyte = 1024 * 1024;
const budgetMib = 128;
const calls = 60;

/** The service as a process of its own, so that its memory is its own too. */
async function startProcess() {
  const folder = await temporaryFolder();
  const database = await createTestDatabase("empty");
  const service = patchbay(
    ["start", "--port", "0", "--data-dir", folder.path, "--memory-budget-mib", String(budgetMib)],
    { env: { DATABASE_URL: database.url, PATCHBAY_ROOT_KEY: Buffer.alloc(32, 1).toString("base64") } },
  );
  const url = await service.ready();
  const key = (await readFile(join(folder.path, "admin-key"), "utf8")).trim();
  return {
    service,
    url,
    admin: presenter(url, key),
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
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

async function residentMib({ pid }: Patchbay): Promise<number> {
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

test.skipIf(process.platform !== "linux")(
  "callers that do not read their answers cost no more than the budget, and keep nobody else from an answer",
  async () => {
    await using running = await startProcess();
    await using bomb = await startBomb();
    const { service, url, admin } = running;
    const wanted = { serviceSlug: "custom:bomb", baseUrl: bomb.url, apiKey: "a-key-of-the-bomb" };
    await admin.client.connections.upsertServiceConnection(wanted);
    const { secret } = await admin.client.apiKeys.createApiKey({
      name: "flood",
      scopes: ["connections:use"],
    });
    const neighbour = await admin.client.apiKeys.createApiKey({
      name: "neighbour",
      scopes: ["connections:view"],
    });
    // What the first call loads is no part of the flood.
    await admin.rest("POST", "/api/service-calls", { service: "custom:bomb", method: "GET", path: "/" });
    const before = await residentMib(service);

    const opened: Socket[] = [];
    try {
      const flood = Array.from({ length: calls }, () => callAndStopReading(url, secret, opened));
      const peak = { mib: before };
      const others = presenter(url, neighbour.secret);
      const isOver = Promise.all(flood).then(() => true);
      while (!(await Promise.race([isOver, false]))) {
        expect((await others.rest("GET", "/api/service-connections")).status).toBe(200);
        peak.mib = Math.max(peak.mib, await residentMib(service));
      }
      const statuses = await Promise.all(flood);
      expect(statuses).toContain(503);
      expect(new Set(statuses)).not.toContain(500);
      expect(peak.mib - before).toBeLessThan(budgetMib + 96);
      expect(service.stdout()).not.toContain('"level":50');
    } finally {
      for (const socket of opened) socket.destroy();
    }
    // All of it is given back: a call finds room again.
    await expect
      .poll(() =>
        admin.rest("POST", "/api/service-calls", { service: "custom:bomb", method: "GET", path: "/" }),
      )
      .toMatchObject({ status: 200 });
  },
);
