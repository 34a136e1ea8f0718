import { startBenchPostgres } from "./patchbay.ts";
import { benchClaims } from "./sweep/claims.ts";
import { benchUpstreams } from "./sweep/upstreams.ts";

/** What the sweep can do, and what it costs callers. */
export async function run(): Promise<void> {
  await using postgres = await startBenchPostgres();
  await benchClaims(postgres);
  await benchUpstreams(postgres);
}
