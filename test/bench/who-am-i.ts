import { credentials } from "@grpc/grpc-js";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { foundOrganization } from "#src/cli/found-organization.ts";
import { createPatchbayClient } from "#src/client/grpc-js.ts";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";

const warmUp = 3_000;
const calls = 12_000;
const concurrency = 16;

/** A server in a process of its own. */
interface Measured {
  readonly port: number;
  cpu(): Promise<number>;
  end(): void;
}

async function startServer(name: string, ...args: string[]): Promise<Measured> {
  const child = fork(fileURLToPath(new URL(`./servers/${name}.ts`, import.meta.url)), args);
  const { port } = (await answerOf(child)) as { port: number };
  return {
    port,
    async cpu() {
      child.send("cpu");
      return ((await answerOf(child)) as { cpuMicroseconds: number }).cpuMicroseconds;
    },
    end: () => void child.send("end"),
  };
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const [answer] = (await once(child, "message")) as unknown[];
  return answer;
}

type Ask = () => Promise<void>;

function httpAsker(port: number, method: string, path: string, secret: string): Ask {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const headers = {
    authorization: `Bearer ${secret}`,
    ...(method === "POST" && { "content-type": "application/json" }),
  };
  return () =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ host: "127.0.0.1", port, method, path, agent, headers }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`answered ${response.statusCode}`));
        response.resume().once("end", resolve);
      });
      request.once("error", reject).end(method === "POST" ? "{}" : undefined);
    });
}

function grpcAsker(port: number, apiKey: string): Ask {
  const client = createPatchbayClient({
    address: `127.0.0.1:${port}`,
    credentials: credentials.createInsecure(),
    apiKey,
  });
  return async () => void (await client.apiKeys.whoAmI({}));
}

/** Server CPU of one call, in microseconds. */
async function cost(server: Measured, ask: Ask): Promise<number> {
  await many(ask, warmUp);
  const before = await server.cpu();
  await many(ask, calls);
  return ((await server.cpu()) - before) / calls;
}

async function many(ask: Ask, times: number): Promise<void> {
  let left = times;
  const worker = async () => {
    while (left-- > 0) await ask();
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** What WhoAmI costs the server over each protocol, beside servers that do nothing but answer. */
export async function run(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const log = pino({ level: "silent" });
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await migrate({ url: postgres.url, log });
  const rootKeyText = newRootKeyText();
  const database = createDatabase({ url: postgres.url, log });
  const { secret } = await foundOrganization(
    { database, rootKey: localRootKey(rootKeyText) },
    "sandbox",
    "bench",
  );
  await database.close();

  const http = await startServer("bare-http");
  const grpc = await startServer("grpc-js");
  const patchbay = await startServer("patchbay", postgres.url, rootKeyText);
  const rpcPath = "/patchbay.apikeys.v1.ApiKeyService/WhoAmI";

  const bareHttp = await cost(http, httpAsker(http.port, "GET", "/api/auth/me", secret));
  const bareGrpc = await cost(grpc, grpcAsker(grpc.port, secret));
  print("bare node:http", bareHttp, bareHttp);
  print("grpc-js server", bareGrpc, bareHttp);
  print(
    "Patchbay liveness",
    await cost(patchbay, httpAsker(patchbay.port, "GET", "/healthz", secret)),
    bareHttp,
  );
  print(
    "Patchbay REST",
    await cost(patchbay, httpAsker(patchbay.port, "GET", "/api/auth/me", secret)),
    bareHttp,
  );
  print(
    "Patchbay Connect JSON",
    await cost(patchbay, httpAsker(patchbay.port, "POST", rpcPath, secret)),
    bareHttp,
  );
  print("Patchbay gRPC", await cost(patchbay, grpcAsker(patchbay.port, secret)), bareHttp, bareGrpc);

  for (const server of [http, grpc, patchbay]) server.end();
  await postgres.stop();
  await rm(dataDir, { recursive: true });
}

function print(name: string, microseconds: number, bareHttp: number, bareGrpc?: number): void {
  const ratios = [`${(microseconds / bareHttp).toFixed(1)} × bare node:http`];
  if (bareGrpc !== undefined) ratios.push(`${(microseconds / bareGrpc).toFixed(1)} × grpc-js server`);
  console.log(
    `${name.padEnd(24)}${microseconds.toFixed(0).padStart(6)} µs CPU per call   ${ratios.join(", ")}`,
  );
}

if (import.meta.main) await run();
