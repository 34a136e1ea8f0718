import { credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createPatchbayClient, type PatchbayClient } from "#src/client/grpc-js.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
let client: PatchbayClient;
beforeAll(async () => {
  service = await startService();
  client = createPatchbayClient({
    address: new URL(service.url).host,
    credentials: credentials.createInsecure(),
    apiKey: service.org.secret,
  });
});
afterAll(async () => {
  client.close();
  await service[Symbol.asyncDispose]();
});

/** A stream of changes: when it has begun, and as what it ended. */
function watch(options: { deadline?: number } = {}) {
  const stream = client.verification.watchRevocations({}, options);
  const begun = new Promise<void>((resolve) => stream.once("data", () => resolve()));
  const ended = new Promise<string>((resolve) =>
    stream.once("error", (error: ServiceError) => resolve(`${status[error.code]}: ${error.details}`)),
  );
  return { begun, ended, cancel: () => stream.cancel() };
}

const cancelled = "CANCELLED: Cancelled on client";

test("of 200 streams on one channel 100 begin, and when those are cancelled all the others, again and again", async () => {
  for (let round = 0; round < 12; round++) {
    const [first, waiting] = [100, 100].map((count) => Array.from({ length: count }, () => watch()));
    await Promise.all(first!.map(({ begun }) => begun));
    for (const { cancel } of first!) cancel();
    // One that is refused never begins.
    const outcomes = waiting!.map(({ begun, ended }) => Promise.race([begun.then(() => "begun"), ended]));
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["begun"]));
    for (const { cancel } of waiting!) cancel();
    const ends = await Promise.all([...first!, ...waiting!].map(({ ended }) => ended));
    expect(new Set(ends)).toEqual(new Set([cancelled]));
  }
});

test("the same when they are given up one wave after the other, waiting ones as well", async () => {
  const all = Array.from({ length: 450 }, () => watch());
  let running = all;
  while (running.length > 0) {
    await Promise.race(running.map(({ begun, ended }) => Promise.race([begun, ended])));
    const wave = running.slice(0, 150);
    running = running.slice(150);
    for (const { cancel } of wave) cancel();
  }
  expect(new Set(await Promise.all(all.map(({ ended }) => ended)))).toEqual(new Set([cancelled]));
});

test("the same when it is their deadlines that pass", async () => {
  for (let round = 0; round < 3; round++) {
    const deadline = Date.now() + 500;
    const first = Array.from({ length: 100 }, () => watch({ deadline }));
    const waiting = Array.from({ length: 100 }, () => watch());
    const outcomes = waiting.map(({ begun, ended }) => Promise.race([begun.then(() => "begun"), ended]));
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["begun"]));
    for (const { ended } of first) expect(await ended).toMatch(/^DEADLINE_EXCEEDED: /);
    for (const { cancel } of waiting) cancel();
    await Promise.all(waiting.map(({ ended }) => ended));
  }
});
