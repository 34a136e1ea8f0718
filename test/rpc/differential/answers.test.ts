import { fromJson, toBinary, type DescMethod, type JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { callConnect, callHttp2, connectBytes, frame, head, pathOf, sendHttp1, settled } from "./calls.ts";
import { holdHandler } from "./holds.ts";
import type { Readable } from "./readable.ts";
import { startTwoWays, type Side, type TwoWays } from "./two-ways.ts";

const { createApiKey, listApiKeys, whoAmI } = services.apiKeys.method;
const { callService, deleteConnection } = services.connections.method;
const { upsertUser } = services.directory.method;

const manyScopes = Array.from({ length: 150 }, (_, at) => `area${at}:view`);

let ways: TwoWays;
/** Of each side, a key that is bound to a user. */
const bound = new Map<Side, string>();
beforeAll(async () => {
  ways = await startTwoWays();
  for (const side of ways.sides) {
    const { client } = side.service.org;
    const scopes = ["connections:write", "directory:write"];
    // Lists are in the order of the ids.
    side.service.clock.advance(10);
    const { user } = await client.directory.upsertUser({ email: "ada@example.com" });
    const { secret } = await client.apiKeys.createApiKey({ name: "ada", scopes, actAsUserId: user!.id });
    bound.set(side, secret);
    side.service.clock.advance(10);
    await client.apiKeys.createApiKey({ name: "long", scopes: manyScopes });
    await settled(side);
  }
});
afterAll(() => ways[Symbol.asyncDispose]());

interface Question {
  readonly method: DescMethod;
  readonly message?: JsonObject;
  readonly secret: string;
  readonly accepted?: string | undefined;
}

type Ask = (side: Side, requestId: string, question: Question) => Promise<Readable>;

const protocols: Readonly<Record<string, Ask>> = {
  "Connect JSON": (side, id, { message = {}, accepted, ...call }) =>
    callConnect(side, id, {
      ...call,
      body: JSON.stringify(message),
      lines: [accepted === undefined ? undefined : `accept-encoding: ${accepted}`],
    }),
  "Connect proto": (side, id, { message = {}, accepted, ...call }) =>
    callConnect(side, id, {
      ...call,
      type: "application/proto",
      body: Buffer.from(toBinary(call.method.input, fromJson(call.method.input, message))),
      lines: [accepted === undefined ? undefined : `accept-encoding: ${accepted}`],
    }),
  gRPC: (side, id, { message = {}, accepted, ...call }) =>
    callHttp2(side, id, {
      ...call,
      headers: { "grpc-accept-encoding": accepted },
      steps: [frame(toBinary(call.method.input, fromJson(call.method.input, message))), "end"],
    }),
};

describe.each(Object.entries(protocols))("over %s", (protocol, ask) => {
  test.each<[string | undefined, string | undefined]>([
    [undefined, undefined],
    ["", undefined],
    ["gzip", "gzip"],
    ["br", "br"],
    ["identity", undefined],
    ["snappy", undefined],
    ["identity,deflate,gzip", "gzip"],
    ["gzip, br", "gzip"],
    ["br;q=1.0, gzip;q=0.5", "br"],
    ["gzip;q=0, br", "br"],
    ["gzip;q=0.1, br;q=0.2", "br"],
    ["*", "gzip"],
    ["*;q=0", undefined],
    ["identity;q=0, gzip;q=0.2", "gzip"],
    ["identity, gzip;q=0.5", undefined],
    ["GZIP", "gzip"],
  ])("a long answer to a caller that accepts %s is the same, in the coding %s", (accepted, coding) =>
    ways.same(`long ${accepted} ${protocol}`, async (side, id) => {
      const seen = await ask(side, id, { method: listApiKeys, secret: side.keys.admin, accepted });
      const [, shown] = /"(?:content|grpc)-encoding: (\w+)"/.exec(JSON.stringify(seen)) ?? [];
      expect(shown).toBe(coding);
      expect(JSON.stringify(seen).includes('"flags":1')).toBe(protocol === "gRPC" && coding !== undefined);
      return seen;
    }),
  );

  test("a short answer to a caller that refuses those that are not compressed is the same", () =>
    ways.same(`short ${protocol}`, (side, id) =>
      ask(side, id, { method: whoAmI, secret: side.keys.admin, accepted: "gzip, identity;q=0" }),
    ));

  test("a long answer with a secret is not compressed, and the same", () =>
    ways.same(`secret ${protocol}`, async (side, id) => {
      const message = { name: "long", scopes: manyScopes };
      const question = { method: createApiKey, message, secret: side.keys.admin, accepted: "gzip" };
      const seen = await ask(side, id, question);
      expect(JSON.stringify(seen)).not.toContain("content-encoding: gzip");
      expect(JSON.stringify(seen)).not.toContain('"flags":1');
      return seen;
    }));

  test("what a key that is bound to a user does is answered, logged and recorded the same", async () => {
    const questions: readonly [DescMethod, JsonObject][] = [
      [whoAmI, {}],
      [upsertUser, { email: "grace@example.com" }],
      [deleteConnection, { id: "scn_missing" }],
    ];
    for (const [method, message] of questions) {
      await ways.same(`bound ${method.name} ${protocol}`, (side, id) =>
        ask(side, id, { method, message, secret: bound.get(side)! }),
      );
    }
  });
});

test("a long answer to a Connect GET is compressed as that to a POST, by the same choice", () =>
  ways.same("long GET", (side, id) => {
    const target = `${pathOf(listApiKeys)}?connect=v1&encoding=json&message=%7B%7D`;
    const lines = [
      "host: service.test",
      `x-request-id: ${id}`,
      `authorization: Bearer ${side.keys.admin}`,
      "accept-encoding: gzip;q=0.5, br;q=0.9",
    ];
    return sendHttp1(side, [head(`GET ${target} HTTP/1.1`, lines)], { method: listApiKeys });
  }));

test("both ways left the same metrics and the same audit rows", () => ways.sameLeftBehind());

describe("a service that stops while a call runs", () => {
  test.each<[string, Ask]>([
    [
      "Connect over HTTP/1.1",
      (side, id, { method, secret, message = {} }) =>
        sendHttp1(side, [connectBytes({ method, secret, body: JSON.stringify(message) }, id)], { method }),
    ],
    ["gRPC", protocols["gRPC"]!],
  ])("answers it first, the same both ways, over %s", async (protocol, ask) => {
    await using stopping = await startTwoWays();
    await stopping.same(
      `stopping ${protocol}`,
      async (side, id) => {
        await using held = await holdHandler(side);
        const message = { service: "custom:slow", method: "GET", path: "/" };
        const answered = ask(side, id, { method: callService, message, secret: side.keys.admin });
        await held.reached();
        const stopped = side.service.app.close(10_000);
        await held.letGo();
        const seen = await answered;
        await stopped;
        return seen;
      },
      { lines: 2 },
    );
  });
});
