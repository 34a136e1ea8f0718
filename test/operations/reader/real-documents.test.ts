import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { describe, expect, test } from "vitest";
import type { Imported } from "#src/operations/import/imported.ts";
import { importOpenApi } from "#src/operations/reader/openapi/openapi.ts";
import { readDocumentFile, readGitHub, realDocuments } from "../documents.ts";

const { adyen, box, plaid, ticTacToe, twilio } = realDocuments;

describe.each([
  [adyen, 134, 0],
  [box, 264, 32],
  [plaid, 329, 0],
  [ticTacToe, 3, 1],
  [twilio, 197, 0],
  ["GitHub", 1222, 1],
])("of %s", (name, operations, omissions) => {
  const bytes = name === "GitHub" ? readGitHub() : readDocumentFile(name);
  const imported = importOpenApi(bytes);

  test("all operations are imported but those that are listed", () => {
    expect(imported.operations).toHaveLength(operations);
    expect(imported.problems).toHaveLength(omissions);
  });

  test("every schema is valid JSON Schema 2020-12, compiles, and refers to what is there", () => {
    expect(() => requireSound(imported)).not.toThrow();
  });

  test("schemas take no more room than twice the document", () => {
    const stored = [...imported.definitions.values(), ...imported.operations.flatMap(schemasOf)];
    const size = stored.reduce<number>((sum, schema) => sum + Buffer.byteLength(JSON.stringify(schema)), 0);
    expect(size).toBeLessThan(2 * bytes.length);
  });
});

/** Each once, in one schema that the references lead through. */
function requireSound({ operations, definitions }: Imported): void {
  const texts = new Set(operations.flatMap(schemasOf).map((schema) => JSON.stringify(schema)));
  const inline = [...texts].map((text, index): [string, object] => [`.${index}`, JSON.parse(text) as object]);
  const $defs = Object.fromEntries([...definitions, ...inline]);
  const ajv = addFormats.default(
    new Ajv2020({ strict: false, logger: false, inlineRefs: false, code: { optimize: false } }),
  );
  ajv.addSchema({ $id: "document", $defs });
  for (const name of Object.keys($defs)) ajv.compile({ $ref: `document#/$defs/${name}` });
}

function schemasOf({ parameters, inputSchema = {}, outputSchema = {} }: Imported["operations"][number]) {
  return [inputSchema, outputSchema, ...parameters.map(({ schema }) => schema)];
}
