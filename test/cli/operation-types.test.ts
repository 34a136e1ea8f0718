import type { JsonValue } from "@bufbuild/protobuf";
import fc from "fast-check";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { operationTypes, type TypedOperation } from "#src/cli/operation-types.ts";
import { temporaryFolder } from "./patchbay.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** What the compiler says of the files; empty if it takes them. */
async function compiled(files: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, code] of Object.entries(files)) await writeFile(join(folder.path, name), code);
  const flags = ["--noEmit", "--strict", "--allowImportingTsExtensions", "--module", "nodenext"];
  return new Promise((done) => {
    const tsc = resolve("node_modules/.bin/tsc");
    execFile(tsc, [...flags, ...Object.keys(files)], { cwd: folder.path }, (_, stdout) => done(stdout));
  });
}

const account = {
  type: "object",
  properties: {
    id: { type: "string" },
    parent: { $ref: "#/$defs/Account", description: "The account that it belongs to." },
    kind: { enum: ["current", "savings"] },
    limit: { type: ["integer", "null"] },
    place: { type: "array", prefixItems: [{ type: "number" }, { type: "number" }], items: false },
    tags: { type: "array", items: { type: "string" }, minItems: 1, maxItems: 9 },
  },
  required: ["id", "kind"],
};
const openAccount: TypedOperation = {
  actionIdentifier: "custom:bank/openAccount",
  name: "Open an account",
  deprecated: false,
  contentType: "application/json",
  bodyRequired: true,
  parametersSchema: {
    type: "object",
    properties: {
      path: { type: "object", properties: { branch: { type: "string" } }, required: ["branch"] },
    },
    required: ["path"],
  },
  inputSchema: { $ref: "#/$defs/Account", $defs: { Account: account } },
  outputSchema: {
    type: "object",
    properties: { data: { $ref: "#/$defs/Account" } },
    $defs: { Account: account },
  },
};
const ping: TypedOperation = {
  actionIdentifier: "custom:bank/GET /ping",
  name: "GET /ping",
  deprecated: true,
  bodyRequired: false,
};
const upload: TypedOperation = {
  actionIdentifier: "custom:bank/upload",
  name: "Upload",
  deprecated: false,
  contentType: "text/csv",
  bodyRequired: false,
};

test("types of operations are printed so that people can read them", async () => {
  expect(await operationTypes([openAccount, ping, upload])).toBe(`export interface Operations {
  /** Open an account */
  "custom:bank/openAccount": {
    input: {
      path: {
        branch: string;
      };
      body: Account;
    };
    output: {
      data?: Account;
    };
  };
  /**
   * @deprecated
   * GET /ping
   */
  "custom:bank/GET /ping": {
    input: {};
    output: unknown;
  };
  /** Upload */
  "custom:bank/upload": {
    input: {
      body?: unknown;
    };
    output: unknown;
  };
}
export interface Account {
  id: string;
  parent?: Account;
  kind: ("current" | "savings");
  limit?: (number | null);
  place?: [number, number];
  tags?: string[];
}
`);
});

test("a body is needed where its operation says so, and what no type can say of it is left out", async () => {
  const inputSchema = {
    ...{ type: "object", properties: { id: { type: "string" }, tag: { type: "string" } } },
    ...{ oneOf: [{ required: ["id"] }, { required: ["tag"] }], not: { required: ["id", "tag"] } },
  };
  const optional = { ...openAccount, parametersSchema: undefined, outputSchema: undefined, inputSchema, bodyRequired: false }; // prettier-ignore
  expect(await operationTypes([optional])).toContain(`    input: {
      body?: {
        id?: string;
        tag?: string;
      };
    };
`);
});

test("the compiler refuses a name that is misspelt, of an operation, a parameter and a member, and takes what is right", async () => {
  const program = `
    import type { Operations } from "./types.ts";
    declare function call<Name extends keyof Operations>(name: Name, input: Operations[Name]["input"]): Operations[Name]["output"];
    const path = { branch: "north" };
    call("custom:bank/openAccount", { path, body: { id: "1", kind: "savings", parent: { id: "0", kind: "current" }, place: [1, 2] } }).data?.parent?.id.at(0);
    call("custom:bank/GET /ping", {});
    // @ts-expect-error
    call("custom:bank/openAcount", { path, body: { id: "1", kind: "savings" } });
    // @ts-expect-error
    call("custom:bank/openAccount", { path: { branhc: "north" }, body: { id: "1", kind: "savings" } });
    // @ts-expect-error
    call("custom:bank/openAccount", { path, body: { id: "1", kind: "savings", parnet: { id: "0", kind: "current" } } });
    // @ts-expect-error
    call("custom:bank/openAccount", { path, body: { id: "1", kind: "saving" } });
    // @ts-expect-error
    call("custom:bank/openAccount", { path });
    // @ts-expect-error
    call("custom:bank/openAccount", { path, body: { id: "1", kind: "savings" } }).date;
  `;
  const types = await operationTypes([openAccount, ping]);
  expect(await compiled({ "types.ts": types, "program.ts": program })).toBe("");
});

const code = "any; } export const leaked = process.env; interface X {";
const libraryWords = { $defs: {}, enum: {}, type: { type: "string" }, properties: { type: "object" } };
const hostile: Readonly<Record<string, object>> = {
  "a type in words of the library": { type: "object", properties: { a: { tsType: code } } },
  "an enum in words of the library": { enum: ["a"], tsEnumNames: [code] },
  "the end of a comment": { type: "string", description: `*/ ${code} /*` },
  "the end of a comment of a member": { type: "object", properties: { a: { description: `*/ ${code}` } } },
  "lines that look like ends of blocks": { type: "string", description: "a\n}\n*/\n} {\n\u2028b {" },
  "members with the names of code": {
    type: "object",
    properties: { [code]: {}, "a\n*/": {}, $ref: { type: "string" } },
  },
  "the end of a comment in a pattern": { type: "object", patternProperties: { [`*/ ${code}`]: {} } },
  "the end of a comment in a name": {
    $ref: "#/$defs/A",
    $defs: { A: { properties: { [`*/ ${code}`]: {} } } },
  },
  "alternatives beside members": {
    $ref: "#/$defs/Node",
    $defs: {
      Base: { properties: { parent: { $ref: "#/$defs/Node" } } },
      Node: {
        type: "object",
        properties: { children: { items: { $ref: "#/$defs/Node" } } },
        allOf: [{ $ref: "#/$defs/Base" }, { $ref: "#/$defs/No" }],
        anyOf: [{ required: ["parent"] }, { required: ["children"] }],
      },
      No: false,
    },
  },
  "members with names of the library's": { type: "object", properties: libraryWords, required: ["type"] },
  "a member of every object": { type: "object", properties: { ["__proto__"]: { type: "string" } } },
  "values with the text of code": { enum: [code, "`${leaked}`", "a\n}\n", "\\", '"', { a: code }] },
  "a name of its own": { type: "object", title: code, $id: code, properties: {} },
  "a reference to a file": { $ref: "file:///etc/passwd" },
  "a reference to the network": { type: "object", properties: { a: { $ref: "http://127.0.0.1:9/x" } } },
  "a reference to nothing": { $ref: "#/$defs/Nothing" },
  "another form of references": { $dynamicRef: "#a", $anchor: "a", extends: { $ref: "#/$defs/B" } },
  "references in a circle": {
    $ref: "#/$defs/A",
    $defs: { A: { $ref: "#/$defs/B" }, B: { $ref: "#/$defs/A" } },
  },
  "a definition that is a list of itself": {
    $ref: "#/$defs/Operations",
    $defs: { Operations: { type: "array", items: { $ref: "#/$defs/Operations" } } },
  },
  "names that become the same": {
    anyOf: [{ $ref: "#/$defs/a-b" }, { $ref: "#/$defs/a.b" }, { $ref: "#/$defs/a~1b" }],
    $defs: { "a-b": account, "a.b": account, "a/b": account, "": account, "1": account },
  },
  "bounds of lists that contradict": { type: "array", items: {}, minItems: 9, maxItems: -1 },
  "words of schemas with other values": { type: "object", deprecated: "yes", required: true, allOf: {} },
};

test("a hostile document becomes types that the compiler takes, with no code in them", async () => {
  const files: Record<string, string> = {};
  for (const [what, schema] of Object.entries(hostile)) {
    const operation = { ...openAccount, name: `*/ ${code}`, inputSchema: { ...schema } };
    const types = await operationTypes([operation]);
    const withoutTexts = types.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/\/\*.*?\*\//gs, "");
    expect(withoutTexts, what).not.toMatch(/leaked|process/);
    files[`${what}.ts`] = types;
  }
  expect(await compiled(files)).toBe("");
});

const names = fc.constantFrom(
  "A",
  "B",
  "a-b",
  "properties",
  "$defs",
  "$id",
  "required",
  "$ref",
  "",
  "1x",
  "__proto__",
);
const types = fc.constantFrom("object", "array", "string", "integer", "null");
const values = fc.constantFrom<JsonValue>("a", 1, null, { a: [1] }, ["*/"]);
const { schema } = fc.letrec<{ schema: JsonValue }>((tie) => {
  const list = fc.array(tie("schema"), { maxLength: 3 });
  const members = fc.dictionary(names, tie("schema"), { maxKeys: 3 });
  return {
    schema: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<JsonValue>(true, false, {}),
      names.map((name) => ({ $ref: `#/$defs/${name}`, description: "*/" })),
      fc.record(
        {
          ...{
            type: fc.oneof(types, fc.uniqueArray(types)),
            enum: fc.array(values),
            const: values,
          },
          ...{ properties: members, patternProperties: members, additionalProperties: tie("schema") },
          ...{ required: fc.uniqueArray(names), items: tie("schema"), prefixItems: list },
          ...{ anyOf: list, oneOf: list, allOf: list, not: tie("schema") },
          ...{ title: names, $id: names, tsType: names, description: fc.string(), deprecated: fc.boolean() },
        },
        { requiredKeys: [] },
      ),
    ),
  };
});

test("there are types for every schema, whatever refers to what", async () => {
  await fc.assert(
    fc.asyncProperty(fc.tuple(schema, schema, schema), async ([A, B, body]) => {
      const inputSchema = { allOf: [body], $defs: { A, B } };
      expect(await operationTypes([{ ...openAccount, inputSchema }])).toContain(
        "export interface Operations {",
      );
    }),
    { numRuns: 50 },
  );
});
