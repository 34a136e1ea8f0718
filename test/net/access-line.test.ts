import fc from "fast-check";
import { pino } from "pino";
import { expect, test } from "vitest";
import { createLog } from "#src/cli/log.ts";
import { accessLogOf, type AccessLine } from "#src/net/access-line.ts";

const legacyPrefixes = ["qedi_"];
const levels = ["debug", "info", "warn", "error"] as const;

/** Texts that a client can get into a line, with what has to be escaped, and with keys of either kind. */
const texts = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: "grapheme", minLength: 90, maxLength: 130 }),
  fc.string({ unit: fc.constantFrom('"', "\\", "\0", "\n", "\u001f", "\u007f", "é", "\u2028", "😀", "a") }),
  fc.constantFrom(
    `/api/${"a".repeat(600)}`,
    "qe_sk_live_ABCDEFGHJKMNPQRSTVWXYZ234567",
    "qedi_9f8e7d6c5b4a3f2e",
  ),
);
const lines: fc.Arbitrary<AccessLine> = fc.record({
  requestId: texts,
  method: fc.option(texts, { nil: undefined }),
  path: texts,
  status: fc.option(fc.nat(), { nil: undefined }),
  cut: fc.constantFrom(true, undefined),
  orgId: fc.option(texts, { nil: undefined }),
  latencyMs: fc.double({ noNaN: true, noDefaultInfinity: true }),
});

test.each(["json", "readable"] as const)(
  "a line is what pino itself would write, in the %s style",
  (style) => {
    fc.assert(
      fc.property(lines, fc.constantFrom(...levels), fc.constantFrom(...levels), (line, from, level) => {
        const written: string[] = [];
        const log = createLog(from, { write: (text) => written.push(text) }, { style, legacyPrefixes });
        const untimed = (text: string) => text.replace(/\d\d:\d\d:\d\d(\.\d{3})?/, "");
        log.child({}, { redact: [] })[level](line, "request");
        const itsOwn = written.splice(0).map(untimed);
        accessLogOf(log)[level](line, "request");
        expect(written.map(untimed)).toStrictEqual(itsOwn);
        expect(written).toHaveLength(levels.indexOf(level) >= levels.indexOf(from) ? 1 : 0);
      }),
    );
  },
);

test("a line has what the log says in each of its lines", () => {
  const written: string[] = [];
  const log = pino({ base: { pid: 7 }, timestamp: false }, { write: (text) => written.push(text) });
  accessLogOf(log.child({ replica: "b" })).info({ path: "/" }, "request");
  expect(written).toStrictEqual(['{"level":30,"pid":7,"replica":"b","path":"/","msg":"request"}\n']);
});

test("a key in a line is taken out, under any name", () => {
  const written: string[] = [];
  const log = createLog("info", { write: (text) => written.push(text) }, { legacyPrefixes });
  const random = "ABCDEFGHJKMNPQRSTVWXYZ234567";
  accessLogOf(log).info({ path: `/a/qe_sk_live_${random}`, orgId: `qedi_${random}` }, "request");
  expect(written).toHaveLength(1);
  expect(written.join()).toContain("qe_sk_live_[secret]");
  expect(written.join()).not.toContain(random);
});
