import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { patchbay } from "../cli/patchbay.ts";
import { presenter } from "../support/service.ts";
import { httpAsker, type Ask } from "./askers.ts";
import { printFigures } from "./figures.ts";
import type { Options } from "./options.ts";
import { startBenchPostgres } from "./patchbay.ts";
import { measure, type Cell, type Measured } from "./rounds.ts";

const callers = 32;
/** The most that a key may be allowed; each caller has one, so that none is held up. */
const perMinute = 100_000;

/** Calls a second of one process and of two workers, on one Postgres; CPU time is that of all their processes. */
export async function run(options: Options): Promise<void> {
  await using postgres = await startBenchPostgres();
  await using services = new AsyncDisposableStack();
  const cells: Cell[] = [];
  for (const workers of [1, 2]) {
    const databaseUrl = await postgres.newDatabase(`workers_${workers}`);
    cells.push(services.use(await start(workers, databaseUrl)));
  }
  const measured = await measure(cells, options);
  printFigures(measured);
  console.log();
  for (const { cell, visits } of measured)
    console.log(`${cell.name.padEnd(40)}${rateOf({ cell, visits })} calls/s`);
}

/** The real program with that many workers, as a cell that asks it who its callers are. */
async function start(workers: number, databaseUrl: string): Promise<Cell & AsyncDisposable> {
  const dataDir = await mkdtemp(join(tmpdir(), "patchbay-bench-"));
  const limits = [
    "--max-rate-limit-per-minute",
    String(perMinute),
    "--rate-limit-per-minute",
    String(perMinute),
  ];
  const ports = ["--port", "0", "--metrics-port", "0"];
  const service = patchbay(
    ["start", "--workers", String(workers), ...ports, ...limits, "--data-dir", dataDir],
    { env: { DATABASE_URL: databaseUrl, PATCHBAY_ROOT_KEY: newRootKeyText() } },
  );
  const url = await service.ready();
  const port = Number(new URL(url).port);
  const [, metricsPort = ""] = /"metricsPort":(\d+)/.exec(service.stdout()) ?? [];
  const admin = presenter(url, (await readFile(join(dataDir, "admin-key"), "utf8")).trim());
  const asks: Ask[] = [];
  for (let i = 0; i < callers; i++) {
    const { secret } = await admin.client.apiKeys.createApiKey({ name: `caller ${i}`, scopes: ["a:view"] });
    // A connection for each, since workers take connections in turn.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    asks.push(httpAsker(port, "/api/auth/me", secret, undefined, agent));
  }
  let turn = 0;
  const cpu = async () => (await cpuSeconds(Number(metricsPort))) * 1_000_000;
  return {
    name: `WhoAmI REST, ${workers === 1 ? "one process" : `${workers} workers`}`,
    server: { port, cpu, peakMemory: async () => 0, [Symbol.asyncDispose]: async () => undefined },
    ask: async () => asks[turn++ % callers]?.(),
    callers,
    beside: workers === 1 ? [] : ["WhoAmI REST, one process"],
    async [Symbol.asyncDispose]() {
      await service.kill("SIGTERM");
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Of all processes, as they report it. */
async function cpuSeconds(metricsPort: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const [, seconds = ""] = /^process_cpu_seconds_total (\S+)$/m.exec(text) ?? [];
  return Number(seconds);
}

/** That of the median round. */
function rateOf({ cell, visits }: Measured): number {
  const rates = visits.map(({ latenciesMs }) => {
    const meanMs = latenciesMs.reduce((sum, ms) => sum + ms, 0) / latenciesMs.length;
    return (cell.callers * 1000) / meanMs;
  });
  return Math.round(rates.toSorted((a, b) => a - b)[Math.floor(rates.length / 2)] ?? 0);
}
