import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import type { Order, Outcome } from "./outside-process.ts";

let service: TestService;
let outside: ChildProcess;
beforeAll(async () => {
  service = await startService();
  outside = fork(fileURLToPath(new URL("./outside-process.ts", import.meta.url)));
  const [{ upstreamUrl: baseUrl }] = (await once(outside, "message")) as [{ upstreamUrl: string }];
  const connection = { serviceSlug: "custom:outside", baseUrl, apiKey: "the-siblings-own-key" };
  await service.org.client.connections.upsertServiceConnection(connection);
});
afterAll(async () => {
  outside.disconnect();
  await service[Symbol.asyncDispose]();
});

/** The other processes of the machine only ever add to a stretch: one that none of them disturbed tells all. */
const mostRounds = 20;
/** For all of them, where each takes seconds. */
const timeout = mostRounds * 15_000;

/** For how many milliseconds one call held the event loop at most. */
async function longestStretch(order: Order, expected: Outcome): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  outside.send(order);
  const [outcome] = (await once(outside, "message")) as [Outcome];
  delay.disable();
  expect(outcome).toEqual(expected);
  return delay.max / 1e6;
}

/** What it takes this machine to write ten megabytes of JSON in one go; on a quiet one, 30 ms. */
function knownWork(): number {
  const text = "0123456789abcdef".repeat((10 * 1024 * 1024) / 16 - 1);
  const start = performance.now();
  Buffer.from(JSON.stringify(`${text}\n`));
  return performance.now() - start;
}

/** What it takes when nothing disturbs. */
const work = Math.min(...Array.from({ length: 5 }, knownWork));

const procedure = "/patchbay.connections.v1.ConnectionService/CallService";

describe.each([
  ["Connect JSON", ["gzip", "br"]],
  ["gRPC", []],
] as const)("over %s, other calls get their turn", (protocol, codings) => {
  test.each<[string, string, Order["coding"]?]>([
    ["nothing", "10 MiB of bytes"],
    ...codings.map((coding): [string, string, Order["coding"]] => ["nothing", "10 MiB of bytes", coding]),
    ["nothing", "10 MiB of text"],
    ["nothing", "10 MiB of JSON"],
    ["nothing", "1 MiB of JSON"],
    ["4 MiB of bytes", "nothing"],
    ["4 MiB of text", "nothing"],
    ["4 MiB of one JSON string", "nothing"],
    ["4 MiB of JSON numbers", "nothing"],
    ["4 MiB of JSON members", "nothing"],
    ["4 MiB of JSON objects", "nothing"],
  ])("while a call brings %s and is answered %s, in the coding %s", async (body, answer, coding) => {
    await expectTurns(protocol, procedure, { body, answer, coding }, { status: 200, isWhole: true });
  });

  test.each(["4 MiB of bytes", "4 MiB of JSON members"])("while a call brings %s in gzip", async (body) => {
    const asked = { body, answer: "nothing", sentIn: "gzip" } as const;
    await expectTurns(protocol, procedure, asked, { status: 200, isWhole: true });
  });

  test.each([
    "4 MiB of header names",
    "4 MiB of lists in the query",
    // Six times as long where they are sent on: more than may be.
    ...(protocol === "gRPC" ? ["4 MiB of control characters", "4 MiB of one name"] : []),
    // A gRPC client sends no field that it does not know by number.
    ...(protocol === "gRPC" ? [] : ["4 MiB of unknown fields"]),
  ])("while a call is refused for %s", async (body) => {
    await expectTurns(protocol, procedure, { body, answer: "nothing" }, { status: 400, isWhole: false });
  });
});

// What reads and writes the messages is the same as above.
test.each<[Order["protocol"], string, string, Outcome]>([
  ["REST", "4 MiB of JSON members", "10 MiB of bytes", { status: 200, isWhole: true }],
  ["REST", "4 MiB of bytes", "10 MiB of JSON", { status: 200, isWhole: true }],
  ["REST", "4 MiB of lists in the query", "nothing", { status: 400, isWhole: false }],
  ["gRPC over HTTP/1.1", "4 MiB of JSON numbers", "1 MiB of JSON", { status: 200, isWhole: true }],
  ["gRPC in JSON", "4 MiB of JSON objects", "1 MiB of JSON", { status: 200, isWhole: true }],
  ["gRPC in JSON", "4 MiB of unknown fields", "nothing", { status: 400, isWhole: false }],
  ["gRPC-Web in JSON", "4 MiB of JSON objects", "1 MiB of JSON", { status: 200, isWhole: true }],
])(
  "over %s, other calls get their turn while a call brings %s and is answered %s",
  { timeout },
  (protocol, ...order) => {
    const [body, answer, expected] = order;
    return expectTurns(
      protocol,
      protocol === "REST" ? "/api/service-calls" : procedure,
      { body, answer },
      expected,
    );
  },
);

async function expectTurns(
  protocol: Order["protocol"],
  path: string,
  { body, answer, coding, sentIn }: Pick<Order, "body" | "answer" | "coding" | "sentIn">,
  expected: Outcome,
): Promise<void> {
  const { url, org } = service;
  let stretch = Infinity;
  let allowed = work;
  for (let round = 0; round < mostRounds && stretch >= allowed; round++) {
    const order = { protocol, url: url + path, secret: org.secret, answer, body, coding, sentIn };
    stretch = Math.min(stretch, await longestStretch(order, expected));
    // What disturbs every round makes the known work of these rounds longer, too.
    if (stretch >= allowed) allowed = Math.max(allowed, knownWork());
  }
  console.log(
    `${protocol}, ${body}, ${answer} (${coding}): ${stretch.toFixed(1)} ms; known work ${allowed.toFixed(1)} ms`,
  );
  expect(stretch).toBeLessThan(allowed);
}
