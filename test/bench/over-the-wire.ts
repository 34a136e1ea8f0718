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

function httpAsker(port: number, path: string, secret: string, body?: object): Ask {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const sent = body && JSON.stringify(body);
  const method = sent === undefined ? "GET" : "POST";
  const headers = {
    authorization: `Bearer ${secret}`,
    ...(sent !== undefined && { "content-type": "application/json", "content-length": sent.length }),
  };
  return () =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ host: "127.0.0.1", port, method, path, agent, headers }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`answered ${response.statusCode}`));
        response.resume().once("end", resolve);
      });
      request.once("error", reject).end(sent);
    });
}

type GrpcClient = ReturnType<typeof createPatchbayClient>;

function grpcAsker(port: number, apiKey: string, ask: (client: GrpcClient) => Promise<unknown>): Ask {
  const address = `127.0.0.1:${port}`;
  const client = createPatchbayClient({ address, credentials: credentials.createInsecure(), apiKey });
  return async () => void (await ask(client));
}

/** What one call costs the server, and how many there are in a second. */
interface Cost {
  readonly cpuMicroseconds: number;
  readonly perSecond: number;
}

async function cost(server: Measured, ask: Ask): Promise<Cost> {
  await many(ask, warmUp);
  const [cpuBefore, startedAt] = [await server.cpu(), performance.now()];
  await many(ask, calls);
  const seconds = (performance.now() - startedAt) / 1000;
  return { cpuMicroseconds: ((await server.cpu()) - cpuBefore) / calls, perSecond: calls / seconds };
}

async function many(ask: Ask, times: number): Promise<void> {
  let left = times;
  const worker = async () => {
    while (left-- > 0) await ask();
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** What WhoAmI and VerifyKey cost the server over each protocol, beside servers that do nothing but answer. */
export async function run(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const log = pino({ level: "silent" });
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  await migrate({ url: postgres.url, log });
  const rootKeyText = newRootKeyText();
  const database = createDatabase({ url: postgres.url, log });
  const rootKey = localRootKey(rootKeyText);
  const { secret } = await foundOrganization({ database, rootKey }, "sandbox", "bench");
  await database.close();

  const http = await startServer("bare-http");
  const grpc = await startServer("grpc-js");
  const patchbay = await startServer("patchbay", postgres.url, rootKeyText);
  const question = { key: secret, scopes: ["connections:view"] };
  const verifyKey = "/patchbay.verification.v1.VerificationService/VerifyKey";

  const bare = {
    http: await cost(http, httpAsker(http.port, verifyKey, secret, question)),
    grpc: await cost(
      grpc,
      grpcAsker(grpc.port, secret, (client) => client.verification.verifyKey(question)),
    ),
  };
  print("bare node:http", bare.http, bare);
  print("grpc-js server", bare.grpc, bare);
  const rows: [string, Ask][] = [
    ["liveness", httpAsker(patchbay.port, "/healthz", secret)],
    ["WhoAmI REST", httpAsker(patchbay.port, "/api/auth/me", secret)],
    [
      "WhoAmI Connect JSON",
      httpAsker(patchbay.port, "/patchbay.apikeys.v1.ApiKeyService/WhoAmI", secret, {}),
    ],
    ["WhoAmI gRPC", grpcAsker(patchbay.port, secret, (client) => client.apiKeys.whoAmI({}))],
    ["VerifyKey REST", httpAsker(patchbay.port, "/api/api-keys/verify", secret, question)],
    ["VerifyKey Connect JSON", httpAsker(patchbay.port, verifyKey, secret, question)],
    ["VerifyKey gRPC", grpcAsker(patchbay.port, secret, (client) => client.verification.verifyKey(question))],
  ];
  for (const [name, ask] of rows) print(name, await cost(patchbay, ask), bare);

  for (const server of [http, grpc, patchbay]) server.end();
  await postgres.stop();
  await rm(dataDir, { recursive: true });
}

function print(name: string, { cpuMicroseconds, perSecond }: Cost, bare: { http: Cost; grpc: Cost }): void {
  const peers = name.endsWith("gRPC") ? { ...bare } : { http: bare.http };
  const ratios = Object.entries(peers).map(
    ([peer, its]) =>
      `${(cpuMicroseconds / its.cpuMicroseconds).toFixed(1)} × ${peerNames[peer as "http" | "grpc"]}`,
  );
  const cpu = `${cpuMicroseconds.toFixed(0).padStart(6)} µs CPU`;
  console.log(`${name.padEnd(24)}${cpu}${perSecond.toFixed(0).padStart(8)}/s   ${ratios.join(", ")}`);
}

const peerNames = { http: "bare node:http", grpc: "grpc-js server" };

if (import.meta.main) await run();
