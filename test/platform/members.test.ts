import fc from "fast-check";
import { expect, test } from "vitest";
import { Members } from "#src/platform/members.ts";

test("whoever comes and leaves, it holds what a set would, in the same order", () => {
  const step = fc.oneof(fc.constant("add"), fc.nat({ max: 20 }));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const members = new Members<object>();
      const expected = new Set<object>();
      const came: { member: object; leave: () => void }[] = [];
      for (const one of steps) {
        if (one === "add") {
          const member = {};
          came.push({ member, leave: members.add(member) });
          expected.add(member);
        } else {
          // Also those that have left already.
          const leaving = came.at(one % Math.max(1, came.length));
          if (leaving !== undefined) expect(leaving.leave()).toBe(expected.delete(leaving.member));
        }
        expect([...members]).toStrictEqual([...expected]);
        expect([...members].every((member, index) => member === [...expected][index])).toBe(true);
        expect(members.size).toBe(expected.size);
        expect(members.first).toBe([...expected][0]);
      }
    }),
  );
});

test("members may leave while they are gone through", () => {
  const members = new Members<string>();
  const leaves = ["a", "b", "c"].map((member) => members.add(member));
  const seen: string[] = [];
  for (const member of members) {
    seen.push(member);
    for (const leave of leaves) leave();
  }
  expect(seen).toEqual(["a", "b", "c"]);
  expect(members.size).toBe(0);
});
