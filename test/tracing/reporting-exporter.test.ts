import { expect, test } from "vitest";
import { createLog } from "#src/cli/log.ts";
import { reportingExporter } from "#src/tracing/reporting-exporter.ts";

test("a receiver that takes nothing is reported once, with what helps and nothing that it said, and once that it is back", () => {
  const lines: { msg: string; problem?: string }[] = [];
  const log = createLog("info", {
    write: (line: string) => void lines.push(JSON.parse(line) as { msg: string }),
  });
  const counts = { taken: 0, lost: 0 };
  const ends: (Error | undefined)[] = [
    new Error("Request timed out"),
    Object.assign(new Error("what it said"), { code: 401 }),
    undefined,
    Object.assign(new Error("what it said"), { code: "ECONNREFUSED" }),
  ];
  const exporter = reportingExporter(
    {
      export: (_spans, done) => {
        const error = ends.shift();
        done(error === undefined ? { code: 0 } : { code: 1, error });
      },
      shutdown: async () => undefined,
    },
    counts,
    log,
  );
  for (let i = 0; i < 4; i++) exporter.export([], () => undefined);
  expect(lines.map(({ msg, problem }) => [msg, problem])).toStrictEqual([
    ["the receiver of traces takes none; they are lost for now", "Request timed out"],
    ["traces are taken again", undefined],
    ["the receiver of traces takes none; they are lost for now", "ECONNREFUSED"],
  ]);
});
