import { setTimeout as after } from "node:timers/promises";
import { importOpenApi } from "#src/operations/reader/openapi/openapi.ts";
import { schemaBytesOf } from "#src/operations/reader/rows.ts";
import { readDocumentFile, readGitHub, realDocuments } from "../operations/documents.ts";
import { startBenchPostgres } from "./patchbay.ts";

const documents = {
  ...Object.fromEntries(Object.values(realDocuments).map((name) => [name, () => readDocumentFile(name)])),
  GitHub: readGitHub,
};

interface Imported {
  readonly data: {
    readonly revision: { readonly operations: number; readonly problemCount: number };
  };
}

/** How long documents of real services take to import, what is stored of them, and what other callers notice. */
export async function run(): Promise<void> {
  await using postgres = await startBenchPostgres();
  const { start, apiKey } = await postgres.found("import");
  await using patchbay = await start();
  const address = `http://127.0.0.1:${patchbay.port}`;
  const authorization = `Bearer ${apiKey}`;

  async function importDocument(
    slug: string,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<Imported["data"]["revision"]> {
    const response = await fetch(`${address}/api/integrations/${slug}/import`, {
      method: "POST",
      headers: { authorization, "content-type": "application/octet-stream" },
      body,
    });
    if (!response.ok) throw new Error(await response.text());
    return ((await response.json()) as Imported).data.revision;
  }

  /** What another caller waits for while the work is done, in milliseconds. */
  async function beside<T>(
    work: Promise<T>,
  ): Promise<{ readonly result: T; readonly waits: readonly number[] }> {
    const waits: number[] = [];
    const state = { isDone: false };
    const asking = (async () => {
      while (!state.isDone) {
        const began = performance.now();
        await (await fetch(`${address}/api/service-connections`, { headers: { authorization } })).text();
        waits.push(performance.now() - began);
        await after(2);
      }
    })();
    try {
      return { result: await work, waits };
    } finally {
      state.isDone = true;
      await asking;
    }
  }

  await beside(after(1_000));
  const idle = await beside(after(5_000));
  console.log(`idle: ${waited(idle.waits)}`);
  for (const [index, [name, read]] of Object.entries(documents).entries()) {
    const bytes = read();
    const size = bytes.length;
    const began = performance.now();
    const { result, waits } = await beside(importDocument(`custom:d${index}`, bytes));
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const stored = (schemaBytesOf(importOpenApi(bytes)) / size).toFixed(2);
    const peak = Math.round((await patchbay.peakMemory()) / 1024 / 1024);
    console.log(
      `${name}: ${result.operations} operations, ${result.problemCount} problems, ${seconds} s, schemas ${stored} × the document; ` +
        `${waited(waits)}; peak memory so far ${peak} MiB`,
    );
  }
}

function waited(waits: readonly number[]): string {
  const sorted = waits.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0).toFixed(1);
  return `others wait p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`;
}
