import { setTimeout as after } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ImportRefused } from "#src/operations/import/errors.ts";
import { readDocument } from "#src/operations/reader/read.ts";
import type { DefinitionRow, OperationRow, RowsPiece } from "#src/operations/import/reading.ts";
import { readGitHub } from "../documents.ts";

const decoder = new TextDecoder();
const never = new AbortController().signal;

function read(bytes: Uint8Array<ArrayBuffer>, signal = never, wantsRows = true) {
  return readDocument({ orgId: "acme", bytes, source: "document", previous: [], wantsRows, signal });
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

test("a large document is read beside other work, and its rows come in small pieces", async () => {
  const started = performance.now();
  const { longest, result } = await longestPause(async () => {
    const { summary, rows } = await read(readGitHub());
    return { summary, pieces: await Array.fromAsync(rows) };
  });
  const { summary, pieces } = result;
  expect(summary).toMatchObject({
    format: "openapi-3.0",
    title: "GitHub's official OpenAPI spec + Octokit extension",
    operations: 1222,
  });
  expect(rowsIn<OperationRow>(pieces, "operations")).toHaveLength(1222);
  const names = new Set(rowsIn<DefinitionRow>(pieces, "definitions").map(({ name }) => name));
  const needed = rowsIn<OperationRow>(pieces, "operations").flatMap((row) => row.definitionNames);
  expect(new Set(needed)).toEqual(names);
  expect(Math.max(...pieces.map(({ json }) => json.length))).toBeLessThan(512 * 1024);
  // On the main thread, the pause would be all of the time.
  expect(longest).toBeLessThan((performance.now() - started) / 2);
});

test("a small document that shares its memory with others leaves them theirs", async () => {
  const text = '{"openapi":"3.1.0","info":{"title":"T"},"paths":{"/a":{"get":{}}}}';
  const shared = new Uint8Array(bytesOf(`${text} not of it`).buffer, 0, text.length);
  const { summary } = await read(shared);
  expect(summary.operations).toBe(1);
  expect(decoder.decode(shared)).toBe(text);
});

test("whoever gives up ends the reading at once", async () => {
  const abort = new AbortController();
  const reading = read(readGitHub(), abort.signal);
  abort.abort(new Error("the caller has gone"));
  await expect(reading).rejects.toThrow("the caller has gone");
});

describe("a hostile document is refused beside other work:", () => {
  test.each([
    ["aliases that multiply", bomb(), /more than 400000 values/],
    ["brackets without end", `a: ${"[".repeat(1e6)}`, /nested deeper than 64/],
    ["a list in a list without end", `a:\n  ${"- ".repeat(1e5)}x`, /nested/],
  ])("%s", async (_, text, message) => {
    const { longest, result: error } = await longestPause(() => read(bytesOf(text)).catch((e: unknown) => e));
    expect(error).toBeInstanceOf(ImportRefused);
    expect(String(error)).toMatch(message);
    expect(longest).toBeLessThan(5_000);
  });
});

/** Each stands for ten of the one before. */
function bomb(): string {
  const lines = Array.from(
    { length: 20 },
    (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join()}]`,
  );
  return ["a0: &a0 x", ...lines].join("\n");
}

function rowsIn<Row>(pieces: readonly RowsPiece[], of: RowsPiece["of"]): Row[] {
  return pieces.flatMap((piece) =>
    piece.of === of ? (JSON.parse(decoder.decode(piece.json)) as Row[]) : [],
  );
}

/** How long other work had to wait at the most, in milliseconds. */
async function longestPause<T>(work: () => Promise<T>): Promise<{ longest: number; result: T }> {
  const watch = { longest: 0, isDone: false };
  const watching = (async () => {
    for (let last = performance.now(); !watch.isDone; last = performance.now()) {
      await after(1);
      watch.longest = Math.max(watch.longest, performance.now() - last);
    }
  })();
  try {
    const result = await work();
    return { result, longest: watch.longest };
  } finally {
    watch.isDone = true;
    await watching;
  }
}
