import { setImmediate as nextTurn } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import type { JsonObject } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, describe, expect, test } from "vitest";
import { createCheckThread } from "#src/calls/checks/check-thread.ts";
import { createChecks } from "#src/calls/checks/checks.ts";
import type { JsonInput } from "#src/calls/checks/question.ts";
import type { OperationContract } from "#src/operations/operation.ts";
import { startWorker } from "#src/platform/worker.ts";

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

/** Each level asks twice for the next one: 2^40 checks of what is `deep`. */
function fanOut(depth = 40): OperationContract {
  const levels = Array.from({ length: depth }, (_, i): [string, JsonObject] => [
    `level${i}`,
    { allOf: [{ $ref: `#/$defs/level${i + 1}` }, { $ref: `#/$defs/level${i + 1}` }] },
  ]);
  return contractOf(
    { type: ["integer", "object"], properties: { deep: { $ref: "#/$defs/level0" } } },
    { ...Object.fromEntries(levels), [`level${depth}`]: { type: "object" } },
  );
}

const deep = withBody({ deep: {} });

const amount = contractOf({ $ref: "#/$defs/Amount" }, { Amount: { type: "integer" } });
const isWrong = { problems: [{ pointer: "/body", reason: "must be integer" }] };

test("what is right and what is wrong is said, also of definitions that operations share", async () => {
  expect(await checks.input("acme", amount, withBody(7))).toMatchObject({ problems: [] });
  expect(await checks.input("acme", amount, withBody("7"))).toMatchObject(isWrong);
});

describe("a thread that", () => {
  test("ends amid a question, or for want of one, is followed by another, and the question is answered", async () => {
    const started: Worker[] = [];
    const thread = createCheckThread(log, () => {
      started.push(startWorker("calls/checks/check", { memoryMb: 64 }));
      return started.at(-1)!;
    });
    const ask = () => thread.ask("acme", amount, { input: withBody("7") });
    const asked = ask();
    while (started.length === 0) await nextTurn();
    void started[0]?.terminate();
    expect(await asked).toMatchObject({ checked: isWrong });
    void started[1]?.terminate();
    expect(await ask()).toMatchObject({ checked: isWrong });
    expect(started).toHaveLength(3);
    await thread.close();
  });

  test("ends at each question, or cannot be started, leaves calls to go on", async () => {
    for (const start of [
      () => startWorker("calls/checks/gone", { memoryMb: 64 }),
      () => {
        throw new Error("no more threads");
      },
    ]) {
      const thread = createCheckThread(log, start);
      expect(await thread.ask("acme", amount, { input: withBody("7") })).toBeUndefined();
      await thread.close();
    }
  });
});

/** Whether what the first organisation asks first comes after what the other one asks then. */
async function isApart(first: string, contract: OperationContract) {
  const ended: string[] = [];
  const asked = checks.input(first, contract, deep).then(() => ended.push(first));
  await checks.input("acme", amount, withBody("7")).then(() => ended.push("acme"));
  await asked;
  return ended[0] === "acme";
}

test("an organisation of which many schemas take long keeps others waiting for a second, and then no more", async () => {
  // Not to take the start of the thread for a long question.
  await checks.input("acme", amount, withBody("7"));
  // Deeper on a machine that is faster: each takes a part of what is allowed, and is compiled anew.
  let depth = 12;
  for (let tookMs = 0; tookMs < 100; depth += 1) {
    const began = performance.now();
    await checks.input("many", fanOut(depth), deep);
    tookMs = performance.now() - began;
  }
  // How many it takes is the machine's to say: a busy one has not worked all of the time.
  for (let asked = 0; !(await isApart("many", fanOut(depth))); asked++) expect(asked).toBeLessThan(100);
});

describe("a schema that", () => {
  test("takes for ever is not checked, and keeps others waiting once, and then not at all", async () => {
    const shared = fanOut();
    // Compiled already, or not.
    expect(await checks.input("hostile", shared, withBody(7))).toMatchObject({ problems: [] });
    const hostile = checks.input("hostile", shared, deep);
    expect(await checks.input("acme", amount, withBody("7"))).toMatchObject(isWrong);
    expect(await hostile).toMatchObject({ problems: [], notChecked: /takes too long/ });
    expect(await isApart("hostile", fanOut())).toBe(true);
    // What comes with Patchbay is the same for all, and one of them does not end its check for the others.
    expect(await checks.input("acme", shared, withBody("7"))).toMatchObject({
      problems: [{ pointer: "/body", reason: "must be integer,object" }],
    });
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
