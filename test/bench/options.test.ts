import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readOptions, UsageError } from "./options.ts";
import { chosen } from "./rounds.ts";
import { startServer } from "./server.ts";

const taken = { growth: ["rounds", "visit-ms", "only", "lane"], start: ["rounds"], flood: [] } as const;
const read = (...args: readonly string[]) => readOptions(args, taken);

test("a number that is none, or not a whole one above 0, is refused in words", () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "",
      "abc",
      "0",
      "00",
      "-1",
      "1.5",
      "1e3",
      "0x10",
      " 7",
      "NaN",
      "Infinity",
      "9".repeat(20),
    ),
  );
  fc.assert(
    fc.property(
      text.filter((one) => !/^\d{1,9}$/.test(one) || Number(one) === 0),
      fc.constantFrom("rounds", "visit-ms"),
      (number, option) => {
        expect(() => read("growth", `--${option}=${number}`)).toThrow(
          `--${option}: give a whole number from 1`,
        );
      },
    ),
  );
});

test("whole numbers above 0 are taken as they are", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), (number) => {
      const { options } = read("growth", `--rounds=${number}`, `--visit-ms=${number}`);
      expect(options).toMatchObject({ rounds: number, visitMs: number });
    }),
  );
});

describe("what would change nothing is refused", () => {
  test.each([
    [
      "an option that the bench does not take",
      ["start", "--visit-ms", "9"],
      "the bench start takes no --visit-ms",
    ],
    [
      "an option that one of the benches does not take",
      ["growth", "flood", "--rounds", "2"],
      "flood takes no",
    ],
    ["an option that there is not", ["growth", "--round", "2"], "--round"],
    ["an option without its value", ["growth", "--rounds"], "--rounds"],
    ["a lane that there is not", ["growth", "--lane", "fast"], "--lane: give one of on, off, both"],
    ["a bench that there is not", ["grow"], "no bench grow; there are growth, start, flood"],
    ["a bench with the name of something that every object has", ["toString"], "no bench toString"],
  ])("%s", (_, args, message) => {
    expect(() => read(...args)).toThrow(UsageError);
    expect(() => read(...args)).toThrow(message);
  });

  test("a choice of cells that none fits, with the names of those that there are", async () => {
    await using server = await startServer("bare-http");
    const cell = { name: "VerifyKey", server, ask: async () => {}, callers: 1, beside: [] };
    expect(chosen([cell], "Verify")).toStrictEqual([cell]);
    expect(() => chosen([cell], "verify")).toThrow(
      new UsageError('no cell has "verify" in its name; there are VerifyKey'),
    );
  });
});

test("without a name, all benches are asked", () => {
  expect(read().names).toStrictEqual(["growth", "start", "flood"]);
});
