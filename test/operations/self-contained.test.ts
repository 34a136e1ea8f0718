import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { selfContained } from "#src/operations/self-contained.ts";

const ref = (name: string) => ({
  $ref: `#/$defs/${encodeURIComponent(name.replaceAll("~", "~0").replaceAll("/", "~1"))}`,
});

test("a schema carries the definitions that it leads to, in circles as well, and no others", () => {
  const definitions = new Map([
    ["Tree", JSON.stringify({ type: "object", properties: { left: ref("Tree"), value: ref("Value") } })],
    ["Value", JSON.stringify({ type: "string", description: 'not "$ref":"#/$defs/Other"' })],
    ["Other", JSON.stringify({ type: "number" })],
  ]);
  const whole = selfContained(definitions);
  expect(JSON.parse(whole(JSON.stringify(ref("Tree"))))).toStrictEqual({
    ...ref("Tree"),
    $defs: { Tree: JSON.parse(definitions.get("Tree")!), Value: JSON.parse(definitions.get("Value")!) },
  });
  expect(whole('{"type":"string"}')).toBe('{"type":"string"}');
  expect(whole("{}")).toBe("{}");
});

test("whatever its definitions are called, and however they refer to each other, a schema compiles by itself", () => {
  const name = fc.string({ minLength: 1, maxLength: 8, unit: "grapheme" });
  const named = fc
    .uniqueArray(name, { minLength: 1, maxLength: 6 })
    .chain((names) =>
      fc.tuple(
        fc.constant(names),
        fc.array(fc.subarray(names), { minLength: names.length, maxLength: names.length }),
      ),
    );
  fc.assert(
    fc.property(named, ([names, leadTo]) => {
      const schemaOf = (targets: readonly string[] = []) =>
        JSON.stringify({
          type: "object",
          properties: Object.fromEntries(targets.map((one) => [`p${one}`, ref(one)])),
        });
      const definitions = new Map(names.map((one, i) => [one, schemaOf(leadTo[i])]));
      const schema = JSON.parse(selfContained(definitions)(schemaOf(names.slice(0, 1))));
      expect(new Ajv2020().validate(schema, {})).toBe(true);
    }),
    { numRuns: 40 },
  );
});
