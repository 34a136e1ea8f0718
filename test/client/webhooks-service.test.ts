import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { memoryPositions, receiveWebhooks } from "#src/client/node.ts";
import { startWebhooks, type WebhookService } from "../support/webhooks.ts";

let webhooks: WebhookService;
beforeAll(async () => {
  webhooks = await startWebhooks();
});
afterAll(() => webhooks[Symbol.asyncDispose]());

/** What stands between the service and the receiver loses and refuses deliveries, by their subjects. */
async function startBetween(parts: { lost: string[]; refusedOnce: string[] }) {
  const [handed, errors]: [string[], unknown[]] = [[], []];
  const { lost, refusedOnce } = parts;
  const receiver = receiveWebhooks({
    secrets: [webhooks.secret],
    types: ["test.*"],
    format: "binary",
    events: webhooks.service.org.client.events,
    positions: memoryPositions(),
    onEvent: ({ subject, type, data }) =>
      void handed.push(`${type} ${subject} ${Buffer.from(data ?? []).toString()}`),
    onError: (error) => void errors.push(error),
  });
  const server = createServer((request, response) => {
    const subject = String(request.headers["ce-subject"]);
    if (lost.includes(subject)) {
      // The sender believes that it came.
      response.end();
      return;
    }
    const index = refusedOnce.indexOf(subject);
    if (index === -1) return void receiver.node(request, response);
    refusedOnce.splice(index, 1);
    response.writeHead(500).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    ...{ handed, errors },
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("what the service sends is handed over once and in order, also what was lost or refused on the way", async () => {
  await using between = await startBetween({ lost: ["3", "4"], refusedOnce: ["6"] });
  await webhooks.endpoint({ url: between.url, body: "binary" });
  for (const subject of ["1", "2", "3", "4"]) {
    await webhooks.happen("test.paid", [subject]);
    await webhooks.happen("other", [subject]);
  }
  await webhooks.run();
  expect(between.handed).toEqual(["test.paid 1 {}", "test.paid 2 {}"]);

  await webhooks.happen("test.paid", ["5", "6", "7", "8"]);
  await webhooks.run();
  await webhooks.run(10_000);
  await webhooks.run();
  const all = Array.from({ length: 8 }, (_, index) => `test.paid ${index + 1} {}`);
  expect(between.handed).toEqual(all);
  expect(between.errors).toEqual([]);
});
