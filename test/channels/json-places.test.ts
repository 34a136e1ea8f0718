import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findPlaces, wantedPlaces } from "#src/channels/json-places.ts";
import { itemsOf, membersOf, NotJson, scalarAt, wholeValue } from "#src/channels/json-spans.ts";
import { atOnce } from "#src/platform/in-turns.ts";

function isJson(bytes: Buffer): boolean {
  try {
    const { start, end } = atOnce(wholeValue(bytes));
    expect(bytes.subarray(start, end).toString().trim()).toBe(bytes.toString().trim());
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(NotJson);
    return false;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const findIds = (bytes: Buffer) => findPlaces(bytes, wantedPlaces(["/id", "/items/*", "/items/*/id"]));

describe("JSON that is read as bytes", () => {
  test("is JSON exactly where JSON.parse reads it, also once a character of it was changed", () => {
    const noise = fc.constantFrom(...'{}[]:,"\\ \n\t0123456789.-+eEtrufalsn\u0001é'.split(""));
    const damaged = fc
      .tuple(fc.json(), fc.nat(), noise, fc.boolean())
      .map(([text, at, character, replaces]) => {
        const place = at % (text.length + 1);
        return text.slice(0, place) + character + text.slice(place + (replaces ? 1 : 0));
      });
    fc.assert(
      fc.property(fc.oneof(fc.json(), damaged), (text) => {
        // Halves of surrogate pairs are no UTF-8.
        fc.pre(text.isWellFormed());
        expect(isJson(Buffer.from(text))).toBe(parses(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test("has its values where the pointers lead", () => {
    const text = '{"a":[{"b":"one"},{"b":"t\\u0077o","c":1},3],"d~/e":{"f":-1.50e2},"b":null,"b":true}';
    const bytes = Buffer.from(text);
    const wanted = wantedPlaces(["/a/*/b", "/a/1/c", "/a/1", "/d~0~1e/f", "/b", "/a/9", "/missing/too"]);
    const found = atOnce(findPlaces(bytes, wanted)).map((place) => [place.wanted, scalarAt(bytes, place)]);
    expect(found).toEqual([
      ["/a/*/b", "one"],
      ["/a/*/b", "two"],
      ["/a/1/c", "1"],
      ["/a/1", undefined],
      ["/d~0~1e/f", "-1.50e2"],
      ["/b", undefined],
      ["/b", "true"],
    ]);
  });

  test("of ten megabytes leaves others a turn at least every few hundred kilobytes", () => {
    const long = "x".repeat(2_000_000);
    const bytes = Buffer.from(JSON.stringify({ a: long, b: Array.from({ length: 800_000 }, (_, i) => i) }));
    const reading = findPlaces(bytes, wantedPlaces(["/c"]));
    let turns = 0;
    while (reading.next().done !== true) turns += 1;
    expect(turns).toBeGreaterThan(bytes.length / 300_000);
  });

  const ninety = (item: string) => Array.from({ length: 90_000 }, () => item).join(",");
  const spaced = `1${" ".repeat(40)}`;

  test.each([
    ["the items of a list", itemsOf, `[${ninety(spaced)}]`],
    ["the members of an object", membersOf, `{${ninety(`"a":${spaced}`)}}`],
    ["members that are not looked for", findIds, `{${ninety(`"a":${spaced}`)}}`],
    ["items that are looked for", findIds, `{"items":[${ninety(spaced)}]}`],
    ["items that are empty", findIds, `{"items":[${ninety(`{${" ".repeat(40)}}`)}]}`],
  ])("leaves others a turn between %s", (_, read, text) => {
    const reading = read(Buffer.from(text), { start: 0 });
    let turns = 0;
    while (reading.next().done !== true) turns += 1;
    expect(turns).toBeGreaterThan(text.length / 150_000);
  });

  test.each([
    ["items", itemsOf, `[${"1,".repeat(200_000)}1]`],
    ["members", membersOf, `{${'"a":1,'.repeat(200_000)}"a":1}`],
    ["items that are looked for", findIds, `{"items":[${"1,".repeat(200_000)}1]}`],
    ["white space", findIds, " ".repeat(200_000)],
    ["digits", findIds, "1".repeat(200_000)],
  ])("of more %s than anybody sends is refused", (_, read, text) => {
    expect(() => atOnce<unknown>(read(Buffer.from(text), { start: 0 }))).toThrow(NotJson);
  });

  test("has the beginning of a text that is far too long, and finds no name in one", () => {
    const long = "\\u0069\\u0064".repeat(10_000);
    const bytes = Buffer.from(`{"${long}":1,"id":"${long}"}`);
    const found = findIds(bytes);
    const [id, ...more] = atOnce(found);
    expect(more).toEqual([]);
    expect(scalarAt(bytes, id!)?.length).toBeLessThan(20_000);
  });

  test("nested a hundred thousand times is refused, and not read to the end", () => {
    expect(isJson(Buffer.from("[".repeat(100_000) + "]".repeat(100_000)))).toBe(false);
  });
});
