import { create, toBinary } from "@bufbuild/protobuf";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { createTestDatabase } from "../../support/postgres.ts";
import { startProxy, type PostgresProxy } from "../../support/postgres-proxy.ts";
import { callConnect, callHttp2, connectBytes, frame } from "./calls.ts";
import type { Readable } from "./readable.ts";
import { startTwoWays, type Side, type TwoWays } from "./two-ways.ts";

let ways: TwoWays;
let proxy: PostgresProxy;
beforeAll(async () => {
  const postgres = await createTestDatabase();
  proxy = await startProxy(postgres.url);
  ways = await startTwoWays({ postgres: { ...postgres, url: proxy.url }, memoryBudgetMib: 64 });
});
afterAll(async () => {
  await ways[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

const { getUser } = services.directory.method;
const mebibyte = 1024 * 1024;

type Ask = (side: Side, requestId: string, id: string) => Promise<Readable>;

const protocols: readonly (readonly [string, Ask])[] = [
  [
    "Connect",
    (side, requestId, id) =>
      callConnect(side, requestId, {
        method: getUser,
        secret: side.keys.admin,
        body: JSON.stringify({ id }),
      }),
  ],
  [
    "gRPC",
    (side, requestId, id) => {
      const bytes = toBinary(getUser.input, create(getUser.input, { id }));
      const steps = [frame(bytes), "end" as const];
      return callHttp2(side, requestId, { method: getUser, secret: side.keys.admin, steps });
    },
  ],
];

function hasReason(seen: Readable, reason: string): boolean {
  return new RegExp(`reason[\\\\":]+${reason}\\b`).test(JSON.stringify(seen));
}

/** More than is left of the organisation's share of the memory once it is filled. */
const long = "x".repeat(2_000_000);

/** Sends bodies that never end, until there is no room for a long one. */
async function fillMemory(side: Side): Promise<readonly Socket[]> {
  const body = Buffer.alloc(2 * mebibyte, " ");
  const bytes = connectBytes({ method: getUser, secret: side.keys.admin, body }, "probe").subarray(0, -100);
  const [[, ask]] = protocols as [(typeof protocols)[0]];
  const sockets: Socket[] = [];
  do {
    const socket = connect(side.port, "127.0.0.1");
    socket.on("error", () => {});
    await once(socket, "connect");
    socket.write(bytes);
    sockets.push(socket);
  } while (!hasReason(await ask(side, "probe", long), "OVERLOADED"));
  return sockets;
}

test("OVERLOADED is told the same way both ways", async () => {
  const sockets = (await Promise.all(ways.sides.map(fillMemory))).flat();
  for (const [protocol, ask] of protocols) {
    await ways.same(`overloaded ${protocol}`, async (side, requestId) => {
      const seen = await ask(side, requestId, long);
      expect(hasReason(seen, "OVERLOADED")).toBe(true);
      return seen;
    });
  }
  for (const socket of sockets) socket.destroy();
});

describe("while the database is away", () => {
  beforeAll(() => proxy.close());
  afterAll(() => proxy.reopen());

  test.each(protocols)("DATABASE_UNAVAILABLE is told the same way over %s both ways", (protocol, ask) =>
    ways.same(`away ${protocol}`, async (side, requestId) => {
      const seen = await ask(side, requestId, "usr_missing");
      expect(hasReason(seen, "DATABASE_UNAVAILABLE")).toBe(true);
      return seen;
    }),
  );
});
