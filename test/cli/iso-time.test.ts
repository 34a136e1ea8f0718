import fc from "fast-check";
import { expect, test } from "vitest";
import { createIsoTime } from "#src/cli/iso-time.ts";

test("every line has its own time to the millisecond, wherever the clock goes", () => {
  const around = fc.integer({ min: -3_000, max: 3_000 });
  const anywhere = fc.date({ noInvalidDate: true }).map((date) => date.getTime());
  fc.assert(
    fc.property(anywhere, fc.array(fc.oneof(around, anywhere)), (start, moves) => {
      let time = start;
      const isoTime = createIsoTime(() => time);
      for (const move of moves) {
        time = Math.abs(move) > 3_000 ? move : Math.min(start + move, 8.64e15);
        if (time < -8.64e15) time = -8.64e15;
        expect(isoTime()).toBe(`,"time":"${new Date(time).toISOString()}"`);
      }
    }),
  );
});
