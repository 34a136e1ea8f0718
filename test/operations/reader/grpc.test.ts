import {
  create,
  type DescFile,
  fromJson,
  type JsonValue,
  type MessageInitShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  type FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { importGrpc } from "#src/operations/reader/grpc/grpc.ts";
import type { Imported } from "#src/operations/import/imported.ts";
import { allKinds, jsonOfAllKinds } from "../../json/all-kinds.ts";

type FileInit = MessageInitShape<typeof FileDescriptorProtoSchema>;

function setOf(...files: FileInit[]): Uint8Array {
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: files }));
}

/** The file and all that it imports, in no order. */
function closureOf(...files: readonly DescFile[]): FileDescriptorProto[] {
  const all = new Set(files);
  for (const file of all) for (const dependency of file.dependencies) all.add(dependency);
  return [...all].map(({ proto }) => proto);
}

/** A file with a message and a service whose methods take and answer it. */
const bank: FileInit = {
  name: "bank.proto",
  package: "acme.bank.v2",
  syntax: "proto3",
  messageType: [{ name: "Account", field: [{ name: "id", number: 1, type: 9, label: 1, jsonName: "id" }] }],
  service: [
    {
      name: "Accounts",
      method: [
        { name: "Get", inputType: ".acme.bank.v2.Account", outputType: ".acme.bank.v2.Account" },
        { name: "Close", inputType: ".acme.bank.v2.Account", outputType: ".acme.bank.v2.Account", options: { deprecated: true } }, // prettier-ignore
        { name: "Watch", inputType: ".acme.bank.v2.Account", outputType: ".acme.bank.v2.Account", serverStreaming: true }, // prettier-ignore
      ],
    },
  ],
  sourceCodeInfo: {
    location: [
      { path: [6, 0, 2, 0], leadingComments: " Reads an account.\n Twice.\n" },
      { path: [4, 0, 2, 0], leadingComments: " Its number.\n" },
    ],
  },
};

/** Says why JSON does not fit one of the imported schemas. */
function checkOf({ definitions }: Imported, schema: object | undefined) {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  const check = ajv.compile({ ...schema, $defs: Object.fromEntries(definitions) });
  return (json: JsonValue) => (check(json) ? undefined : JSON.stringify(check.errors));
}

test("each method with one question and one answer is an operation, called as Connect has it in JSON", () => {
  const imported = importGrpc(setOf(bank));
  expect(imported).toMatchObject({
    format: "grpc",
    title: "Accounts",
    documentVersion: "v2",
    definition: { name: "Accounts", authMethods: [] },
    operations: [
      { path: "/acme.bank.v2.Accounts/Close", operationId: "acme.bank.v2.Accounts.Close", deprecated: true },
      {
        method: "POST",
        path: "/acme.bank.v2.Accounts/Get",
        operationId: "acme.bank.v2.Accounts.Get",
        name: "Get",
        description: "Reads an account.\nTwice.",
        deprecated: false,
        scopes: [],
        parameters: [],
        body: { contentType: "application/json", required: true },
        inputSchema: { $ref: "#/$defs/acme.bank.v2.Account" },
        outputSchema: { $ref: "#/$defs/acme.bank.v2.Account-answer" },
        definitionNames: ["acme.bank.v2.Account", "acme.bank.v2.Account-answer"],
      },
    ],
  });
  expect(imported.definitions.get("acme.bank.v2.Account")).toEqual({
    type: "object",
    properties: { id: { type: "string", description: "Its number." } },
    additionalProperties: false,
  });
  expect(imported.problems).toEqual([
    {
      pointer: "/file/0/service/0/method/2",
      reason: "acme.bank.v2.Accounts/Watch is a stream, which no single call can make, so it is omitted",
    },
  ]);
});

test("what this service offers over gRPC is imported completely, and its schemas compile", () => {
  const all = Object.values(services);
  const imported = importGrpc(setOf(...closureOf(...all.map(({ file }) => file)).toReversed()));
  const methods = all.flatMap(({ methods }) => methods);
  const unary = methods.filter(({ methodKind }) => methodKind === "unary");
  expect(imported.operations.map(({ path }) => path).sort()).toEqual(
    unary.map(({ parent, name }) => `/${parent.typeName}/${name}`).sort(),
  );
  expect(imported.problems).toHaveLength(methods.length - unary.length);
  const each = imported.operations.flatMap(({ inputSchema = {}, outputSchema = {} }) => [
    inputSchema,
    outputSchema,
  ]);
  expect(checkOf(imported, { anyOf: each })({})).toBeUndefined();
});

describe("a message with a field of every kind", () => {
  const method = { name: "Echo", inputType: ".allkinds.v1.AllKinds", outputType: ".allkinds.v1.AllKinds" };
  const echo: FileInit = {
    name: "echo.proto",
    package: "echo",
    dependency: [allKinds.file.proto.name],
    syntax: "proto3",
    service: [{ name: "Echo", method: [method] }],
  };
  const imported = importGrpc(setOf(echo, ...closureOf(allKinds.file)));
  const [{ inputSchema, outputSchema } = {}] = imported.operations;
  const bytes = fc.uint8Array().map((one) => Buffer.from(one).toString("base64"));

  test("is taken in every JSON that it has, and answered in that which it is written in", () => {
    const [asked, answered] = [checkOf(imported, inputSchema), checkOf(imported, outputSchema)];
    fc.assert(
      fc.property(jsonOfAllKinds(bytes), (json) => {
        expect(asked(json as JsonValue)).toBeUndefined();
        const message = fromJson(allKinds, json as JsonValue);
        for (const alwaysEmitImplicit of [true, false]) {
          expect(answered(toJson(allKinds, message, { alwaysEmitImplicit }))).toBeUndefined();
        }
      }),
    );
  });

  test.each<[what: string, json: JsonValue, isAnswer: boolean]>([
    ["a name that it does not have", { texd: "x" }, true],
    ["two of which one may be chosen", { chosenText: "x", chosenStruct: {} }, true],
    ["a text for a number", { int32: "x" }, false],
    ["a number too large", { int32: 2 ** 31 }, false],
    ["a name that no value has", { color: "COLOR_GREEN" }, false],
    ["a list for one", { text: ["x"] }, false],
    ["a time that is none", { at: "yesterday" }, false],
    ["a name of a map that is no number", { doubleByNumber: { x: 1 } }, false],
  ])("is not taken with %s", (_, json, isAnswer) => {
    expect(checkOf(imported, inputSchema)(json)).toBeDefined();
    expect(checkOf(imported, outputSchema)(json) === undefined).toBe(isAnswer);
  });
});

describe("a set that lacks something", () => {
  test("is imported without what only options need, and says so", () => {
    const { problems, operations } = importGrpc(
      setOf({ ...bank, dependency: ["google/api/annotations.proto"] }),
    );
    expect(operations).toHaveLength(2);
    expect(problems).toContainEqual({
      pointer: "/file/0",
      reason: "imports google/api/annotations.proto, which is not in the set, so it is left out",
    });
  });

  test("has the well-known files without bringing them", () => {
    const empty = ".google.protobuf.Empty";
    const service = [{ name: "S", method: [{ name: "Do", inputType: empty, outputType: empty }] }];
    const file = { name: "s.proto", package: "p", syntax: "proto3", service };
    const { operations } = importGrpc(setOf({ ...file, dependency: ["google/protobuf/empty.proto"] }));
    expect(operations).toMatchObject([{ inputSchema: { type: "object" }, definitionNames: [] }]);
  });

  test.each<[what: string, bytes: Uint8Array, refusal: RegExp]>([
    ["is none", Buffer.from("openapi: 3.1.0"), /no FileDescriptorSet; make one with/],
    ["has no service", setOf({ name: "a.proto", syntax: "proto3" }), /no service of your own/],
    [
      "has none but those of gRPC itself",
      setOf({ ...bank, package: "grpc.health.v1", messageType: [], service: [{ name: "Health" }] }),
      /no service of your own/,
    ],
    ["lacks a message", setOf({ ...bank, messageType: [] }), /do not fit each other/],
    [
      "is of an edition to come",
      setOf({ ...bank, syntax: "editions", edition: 99_999 }),
      /do not fit each other/,
    ],
  ])("%s, is refused", (_, bytes, refusal) => {
    expect(() => importGrpc(bytes)).toThrow(refusal);
  });

  test("or goes in circles, is imported all the same", () => {
    const other = { name: "other.proto", syntax: "proto3", dependency: ["bank.proto"] };
    const { operations, problems } = importGrpc(setOf({ ...bank, dependency: ["other.proto"] }, other));
    expect([operations.length, problems.length]).toEqual([2, 2]);
  });

  test("or is one long chain of imports, is read in a moment", () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => ({
      ...{ name: `${i}.proto`, syntax: "proto3", dependency: i === 0 ? [] : [`${i - 1}.proto`] },
    }));
    expect(importGrpc(setOf(...chain.toReversed(), bank)).operations).toHaveLength(2);
  });
});
