import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { callKey, type Call, type Caller } from "#src/platform/caller.ts";
import type { RawExchange, RawRoute } from "#src/platform/raw-route.ts";
import { createRawRoutes } from "#src/rest/raw-routes.ts";

const caller: Caller = {
  orgId: "acme",
  environment: "sandbox",
  userId: undefined,
  via: { kind: "api_key", id: "key_1", boundUserId: undefined },
  name: "job",
  scopes: ["connections:use"],
  connections: undefined,
  expiresAt: undefined,
  rateLimitPerMinute: undefined,
};

/** Answers what a request to the route is answered, and the signal that it was served with. */
async function served(serve: (exchange: RawExchange) => void) {
  const signals: AbortSignal[] = [];
  const route: RawRoute = {
    ...{ name: "Route", scope: "connections:use", hasForeignQuery: false, headers: {}, matches: () => true },
    async serve(exchange) {
      signals.push(exchange.signal);
      serve(exchange);
    },
  };
  const call: Call = { requestId: "r1", authorizationLines: 1, caller, passedGate: true };
  const routes = createRawRoutes([{ services: [], rawRoutes: [route] }], {
    gate: async () => {},
    report: () => new ConnectError("refused", Code.Internal),
    contextValues: () => createContextValues().set(callKey, call),
  });
  await using server = createServer((request, response) => routes.find("/")?.(request, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const reply = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  await reply.text();
  return { status: reply.status, isOver: signals.map(({ aborted }) => aborted) };
}

test("what a route has begun ends when it fails, although its caller is there to read the failure", async () => {
  const fail = () => {
    throw new Error("a fault");
  };
  expect(await served(fail)).toEqual({ status: 500, isOver: [true] });
});

test("what a route has begun ends when it is done", async () => {
  expect(await served(({ response }) => void response.end())).toEqual({ status: 200, isOver: [true] });
});
