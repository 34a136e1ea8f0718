import type { JsonObject } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, describe, expect, test } from "vitest";
import { createCheckThread } from "#src/calls/checks/check-thread.ts";
import { createChecks } from "#src/calls/checks/checks.ts";
import type { JsonInput } from "#src/calls/checks/question.ts";
import type { OperationContract } from "#src/operations/operation.ts";

const log = pino({ enabled: false });
const checks = createChecks({ log });
afterAll(() => checks.close());

function contractOf(inputSchema: JsonObject | string, definitions: JsonObject = {}): OperationContract {
  const texts = Object.entries(definitions).map(([name, schema]): [string, string] => [
    name,
    JSON.stringify(schema),
  ]);
  return {
    ...{ table: "3.1", parameters: [], outputSchema: undefined },
    body: { contentType: "application/json", required: true },
    inputSchema: typeof inputSchema === "string" ? inputSchema : JSON.stringify(inputSchema),
    definitions: new Map(texts),
  };
}

function withBody(body: JsonInput["body"] & {}): JsonInput {
  return { path: {}, query: {}, header: {}, body };
}

/** Each level asks twice for the next one: 2^40 checks of one value. */
function fanOut(): OperationContract {
  const levels = Array.from({ length: 40 }, (_, i): [string, JsonObject] => [
    `level${i}`,
    { allOf: [{ $ref: `#/$defs/level${i + 1}` }, { $ref: `#/$defs/level${i + 1}` }] },
  ]);
  return contractOf(
    { $ref: "#/$defs/level0" },
    { ...Object.fromEntries(levels), level40: { type: "object" } },
  );
}

const amount = contractOf({ $ref: "#/$defs/Amount" }, { Amount: { type: "integer" } });
const isWrong = { problems: [{ pointer: "/body", reason: "must be integer" }] };

test("what is right and what is wrong is said, also of definitions that operations share", async () => {
  expect(await checks.input("acme", amount, withBody(7))).toMatchObject({ problems: [] });
  expect(await checks.input("acme", amount, withBody("7"))).toMatchObject(isWrong);
});

test("a thread that ends amid a question has not checked it, and the next question has a new one", async () => {
  const thread = createCheckThread(log);
  const asked = thread.ask("acme", fanOut(), { input: withBody({}) });
  await thread.close();
  expect(await asked).toBeUndefined();
  expect(await thread.ask("acme", amount, { input: withBody("7") })).toMatchObject(isWrong);
  await thread.close();
});

describe("a schema that", () => {
  test("takes for ever is not checked, and keeps others waiting once, and then not at all", async () => {
    const hostile = checks.input("hostile", fanOut(), withBody({}));
    expect(await checks.input("acme", amount, withBody("7"))).toMatchObject(isWrong);
    expect(await hostile).toMatchObject({ problems: [], notChecked: /takes too long/ });
    const ended: string[] = [];
    const again = checks.input("hostile", fanOut(), withBody({})).then(() => ended.push("hostile"));
    await checks.input("acme", amount, withBody("7")).then(() => ended.push("acme"));
    await again;
    expect(ended).toStrictEqual(["acme", "hostile"]);
  });

  test.each<[string, JsonObject | string]>([
    ["lacks what it refers to", { $ref: "#/$defs/gone" }],
    ["refers to itself", { $ref: "#" }],
    ["is in another document", { $ref: "https://elsewhere.example/schema" }],
    ["is no schema", { type: "strange" }],
    ["is nested beyond all measure", nested(50_000)],
  ])("%s is left to the service, and its place is named", async (_, schema) => {
    const checked = await checks.input("acme", contractOf(schema), withBody({}));
    expect(checked).toMatchObject({ problems: [], notChecked: /its schema (cannot be used|takes too long)/ });
  });
});

function nested(levels: number): string {
  return `${'{"properties":{"a":'.repeat(levels)}{}${"}}".repeat(levels)}`;
}
