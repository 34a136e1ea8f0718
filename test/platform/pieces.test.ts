import fc from "fast-check";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Pieces } from "#src/platform/pieces.ts";

/** Pieces of lengths at which they are kept, copied, and fill a page. */
const pieces = fc.array(
  fc
    .oneof(fc.nat({ max: 9 }), fc.constantFrom(4_095, 4_096, 16_383, 16_384, 16_385), fc.nat({ max: 40_000 }))
    .chain((length) => fc.nat({ max: 255 }).map((byte) => Buffer.alloc(length, byte))),
  { maxLength: 40 },
);

test("pieces of all lengths come together in their order, each is held before it is kept, and none beyond the limit", () => {
  fc.assert(
    fc.property(pieces, fc.nat({ max: 200_000 }), (given, limitBytes) => {
      const held: number[] = [];
      const gathered = new Pieces(limitBytes, (bytes) => held.push(bytes));
      const taken: Buffer[] = [];
      for (const piece of given) {
        const fits = taken.reduce((sum, { length }) => sum + length, 0) + piece.length <= limitBytes;
        expect(gathered.add(piece)).toBe(fits);
        if (fits) taken.push(piece);
      }
      expect(gathered.whole().equals(Buffer.concat(taken))).toBe(true);
      expect(held).toStrictEqual(taken.map(({ length }) => length).filter((length) => length > 0));
    }),
  );
});

test("a piece for which there is no room is not kept", () => {
  let room = true;
  const gathered = new Pieces(100, () => {
    if (!room) throw new Error("no room");
  });
  gathered.add(Buffer.from("a"));
  room = false;
  expect(() => gathered.add(Buffer.from("b"))).toThrow("no room");
  expect(gathered.whole().toString()).toBe("a");
});

test("a million pieces of one byte take about as much memory as a million bytes", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const used = () => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const gathered = new Pieces(1_000_000, () => undefined);
  const source = Buffer.alloc(1_000_000, 1);
  const before = used();
  for (let i = 0; i < source.length; i++) gathered.add(source.subarray(i, i + 1));
  // Kept one by one, they take a hundred times as much.
  expect(used() - before).toBeLessThan(20_000_000);
  expect(gathered.whole().equals(source)).toBe(true);
});
