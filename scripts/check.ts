import { globSync } from "node:fs";
import { breakingChanges } from "./check-breaking.ts";
import { generatedCode, migrations } from "./check-generated.ts";
import { lockfile, machineTraces } from "./check-text.ts";
import { run } from "./run.ts";

/** Each step answers a remark; its failure is an error whose message is the whole report. */
const steps: Record<string, () => Promise<string>> = {
  types: tool("tsc"),
  "lint and layers": tool("oxlint"),
  format: tool("prettier", "--check", "--log-level=warn", "."),
  "unused code": tool("knip", "--no-progress"),
  "contracts: lint": tool("buf", "lint"),
  "contracts: format": tool("buf", "format", "--diff", "--exit-code", "--path", "proto/patchbay"),
  "contracts: breaking": breakingChanges,
  "generated code": generatedCode,
  "migrations: in step": migrations,
  "migrations: lint": tool("squawk", ...globSync("drizzle/*.sql")),
  lockfile,
  "machine traces": machineTraces,
};

function tool(command: string, ...args: string[]): () => Promise<string> {
  return async () => {
    await run(command, ...args);
    return "";
  };
}

const failed: string[] = [];
for (const [name, step] of Object.entries(steps)) {
  const start = performance.now();
  const [mark, report] = await step().then(
    (remark): [string, string] => ["ok  ", remark],
    (error: unknown): [string, string] => ["FAIL", error instanceof Error ? error.message : String(error)],
  );
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${mark} ${name.padEnd(20)} ${seconds.padStart(5)} s`);
  if (report !== "") console.log(report.replace(/^/gm, "     "));
  if (mark === "FAIL") failed.push(name);
}
console.log(failed.length === 0 ? "\nAll checks passed." : `\n${failed.length} failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
