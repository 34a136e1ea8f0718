import { once } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import {
  WatchConnectionsRequestSchema,
  type WatchConnectionsResponse,
} from "#gen/patchbay/connections/v1/health_pb.js";
import { presentKey } from "#src/client/connect.ts";
import { reasonOf, type PatchbayClient } from "#src/client/node.ts";
import { startReplicas } from "../support/replicas.ts";
import type { Presenter, Tenant, TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let replicas: Awaited<ReturnType<typeof startReplicas>>;
let service: TestService;
let upstream: Upstream;
let org: Tenant;
beforeAll(async () => {
  [replicas, upstream] = await Promise.all([startReplicas(), startUpstream()]);
  service = replicas.one;
  org = service.org;
});
const closing: (() => void)[] = [];
afterAll(async () => {
  for (const close of closing) close();
  await replicas[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

const waiting = { timeout: 30_000, interval: 5 };

/** As much as a connection takes. */
const metadata = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, "ä".repeat(512)]));

let made = 0;
async function connect(by: Presenter = org, more: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await by.rest("POST", "/api/connections", {
    ...{ integration: "custom:watched", authMethod: "bearer", name: `w${made++}`, baseUrl: upstream.url },
    ...{ credentials: { token: "not-for-watchers" }, ...more },
  });
  expect([status, body]).toEqual([201, expect.anything()]);
  return body.data.connection.id;
}

beforeAll(async () => {
  for (const tenant of [org]) await integrate(tenant);
});

async function integrate(tenant: Presenter): Promise<void> {
  const bearer = { id: "bearer", type: "bearer", label: "Token", fields: [{ name: "token", secret: true }] };
  const inject = { headers: { Authorization: "Bearer {token}" } };
  const wanted = { name: "Watched", authMethods: [{ ...bearer, inject }] };
  expect((await tenant.rest("PUT", "/api/integrations/custom:watched", wanted)).status).toBe(200);
}

async function keyFor(more: object = {}): Promise<Presenter & { id: string }> {
  const wanted = { name: "k", scopes: ["connections:view", "connections:write"], ...more };
  const { status, body } = await org.rest("POST", "/api/api-keys", wanted);
  expect([status, body]).toEqual([201, expect.anything()]);
  return { id: body.data.apiKey.id, ...service.as(body.data.secret) };
}

/** What a watcher knows: as a client keeps it. */
async function watch(client: Pick<PatchbayClient["connections"], "watchConnections">, position = "") {
  const stop = new AbortController();
  closing.push(() => stop.abort());
  const messages: WatchConnectionsResponse[] = [];
  const known = new Map<string, WatchConnectionsResponse["connections"][number]>();
  const ended = (async () => {
    for await (const message of client.watchConnections({ position }, { signal: stop.signal })) {
      messages.push(message);
      if (message.reset) known.clear();
      for (const connection of message.connections) known.set(connection.id, connection);
      for (const id of message.removedIds) known.delete(id);
    }
  })().then(() => undefined, ConnectError.from);
  const until = (holds: () => boolean) => vi.waitUntil(holds, waiting);
  return {
    ...{ messages, known, ended, until },
    isCurrent: () => messages.at(-1)?.current === true,
    ids: () => [...known.keys()].toSorted(),
    position: () => messages.at(-1)?.position ?? "",
    stop: () => stop.abort(),
  };
}

async function listed(by: Presenter): Promise<string[]> {
  const { connections } = await by.client.connections.listAllConnections({});
  return connections.map(({ id }) => id).toSorted();
}

const interceptors = () => [presentKey(org.secret)];
const protocols: readonly (readonly [string, () => Transport])[] = [
  ["gRPC", () => createGrpcTransport({ baseUrl: service.url, interceptors: interceptors() })],
  ["Connect", () => createConnectTransport({ baseUrl: service.url, httpVersion: "1.1", interceptors: interceptors() })], // prettier-ignore
  ["gRPC-Web", () => createGrpcWebTransport({ baseUrl: service.url, httpVersion: "1.1", interceptors: interceptors() })], // prettier-ignore
];

describe("a stream of connections", () => {
  test.each(protocols)("over %s has all that there are, and each change as it comes", async (_, over) => {
    const first = await connect();
    const stream = await watch(createClient(ConnectionService, over()));
    await stream.until(stream.isCurrent);
    expect(stream.messages[0]).toMatchObject({ reset: true, connections: [] });
    expect(stream.ids()).toEqual(await listed(org));

    const second = await connect();
    await stream.until(() => stream.known.has(second));
    await org.rest("PATCH", `/api/connections/${first}`, { name: "renamed" });
    await stream.until(() => stream.known.get(first)?.name === "renamed");
    await org.client.connections.deleteConnection({ id: first });
    await stream.until(() => !stream.known.has(first));
    expect(stream.messages.filter(({ reset }) => reset)).toHaveLength(1);
    stream.stop();
    expect((await stream.ended)?.code).toBe(Code.Canceled);
  });

  test("has what probes find, once a state changes, and not each probe", async () => {
    const own = await startUpstream();
    const id = await connect(org, { baseUrl: own.url });
    const stream = await watch(org.client.connections);
    await stream.until(stream.isCurrent);
    const sweep = async () => {
      service.clock.advance(70_000);
      await service.app.loops.health.runOnce();
    };
    await sweep();
    await stream.until(() => stream.known.get(id)?.lastHealthyAt !== undefined);
    own.answer({ status: 500 });
    await sweep();
    await stream.until(() => stream.known.get(id)?.lastError?.stage === "status");
    const heard = () =>
      stream.messages.flatMap((message) => message.connections).filter((one) => one.id === id);
    const before = heard().length;
    await sweep();
    await sweep();
    // A change that comes later shows that no other was on its way.
    await connect().then((later) => stream.until(() => stream.known.has(later)));
    expect(heard()).toHaveLength(before);
    for (let n = 0; n < 3; n++) await sweep();
    await stream.until(() => stream.known.get(id)?.unhealthy === true);
    own.answer({});
    await org.rest("POST", `/api/connections/${id}/test`, {});
    await stream.until(() => stream.known.get(id)?.unhealthy === undefined);
    own.answer({ status: 500 });
    await sweep();
    await stream.until(() => stream.known.get(id)?.lastError?.message === "the service answered 500");
    own.answer({ status: 502 });
    await sweep();
    await stream.until(() => stream.known.get(id)?.lastError?.message === "the service answered 502");
    stream.stop();
    await own[Symbol.asyncDispose]();
  });

  test("has that a service is well again although no probe had said that it was not", async () => {
    const id = await connect();
    const stream = await current(org);
    const isUnhealthy = () => stream.known.get(id)?.unhealthy === true;
    const unasked = async () => {
      service.clock.advance(400_000);
      await org.rest("PATCH", `/api/connections/${id}`, { name: `unasked ${made++}` });
      await stream.until(isUnhealthy);
    };
    await unasked();
    await service.app.loops.health.runOnce();
    await stream.until(() => !isUnhealthy());
    await unasked();
    await service.app.loops.health.runOnce();
    await stream.until(() => !isUnhealthy());
    // Switched off, it is asked by tests alone.
    await org.rest("PATCH", `/api/connections/${id}`, { active: false });
    await unasked();
    await org.rest("POST", `/api/connections/${id}/test`, {});
    await stream.until(() => !isUnhealthy());
    stream.stop();
  });

  test("has many changes of one time in few messages", async () => {
    const id = await connect();
    const stream = await current(org);
    const before = stream.messages.length;
    const since = performance.now();
    for (let n = 0; n < 40; n++) await org.rest("PATCH", `/api/connections/${id}`, { name: `busy ${n}` });
    await stream.until(() => stream.known.get(id)?.name === "busy 39");
    const wakings = 2 + (performance.now() - since) / 245 + (performance.now() - since) / 995;
    expect(stream.messages.length - before).toBeLessThanOrEqual(wakings);
    stream.stop();
  });

  test("that is cut anywhere goes on at another replica, and misses nothing that many change at once", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 6; n++) ids.push(await connect());
    const known = new Map<string, string | undefined>();
    let position = "";
    let resets = 0;
    const change = async (id: string, of: TestService) => {
      for (let n = 0; n < 12; n++)
        await of.as(org.secret).rest("PATCH", `/api/connections/${id}`, { name: `${id} ${n}` });
    };
    const changing = Promise.all(ids.map((id, n) => change(id, n % 2 === 0 ? replicas.one : replicas.other)));
    const isOver = () => ids.every((id) => known.get(id) === `${id} 11`);
    for (let cuts = 0; !isOver() && cuts < 2_000; cuts++) {
      const { client } = (cuts % 2 === 0 ? replicas.one : replicas.other).as(org.secret);
      let heard = 0;
      for await (const message of client.connections.watchConnections({ position })) {
        if (message.reset) resets++;
        for (const { id, name } of message.connections) known.set(id, name);
        position = message.position;
        if (isOver() || ++heard > cuts % 3) break;
      }
    }
    await changing;
    expect(ids.map((id) => known.get(id))).toEqual(ids.map((id) => `${id} 11`));
    expect(resets).toBe(1);
  }, 60_000);

  test("of a key that is limited to some connections has those, from when they are its own until they are not", async () => {
    const mine = await connect(org, { tags: ["kyc"] });
    const theirs = await connect();
    const by = await keyFor({ connections: { rights: [{ tag: "kyc" }] } });
    const stream = await watch(by.client.connections);
    await stream.until(stream.isCurrent);
    expect(stream.ids()).toEqual([mine]);
    await org.rest("PATCH", `/api/connections/${theirs}`, { name: "not for it" });
    await org.client.connections.deleteConnection({ id: await connect() });
    await org.rest("PATCH", `/api/connections/${theirs}`, { tags: ["kyc"] });
    await stream.until(() => stream.known.has(theirs));
    const before = stream.position();
    await org.rest("PATCH", `/api/connections/${mine}`, { tags: ["other"] });
    await stream.until(() => !stream.known.has(mine));
    await org.client.connections.deleteConnection({ id: theirs });
    await stream.until(() => !stream.known.has(theirs));
    const told = stream.messages.flatMap(({ connections, removedIds }) => [
      ...connections.map(({ id }) => id),
      ...removedIds,
    ]);
    expect(new Set(told)).toEqual(new Set([mine, theirs]));
    const again = await watch(by.client.connections, before);
    await again.until(again.isCurrent);
    expect(again.messages.flatMap(({ removedIds }) => removedIds).toSorted()).toEqual(
      [mine, theirs].toSorted(),
    );
    expect(again.messages.some(({ reset }) => reset)).toBe(false);
    for (const one of [stream, again]) one.stop();
  });

  test("begins anew when the rights of its key change, also with a position from before", async () => {
    const one = await connect();
    const other = await connect();
    const by = await keyFor({ connections: { rights: [{ id: one }, { id: other }] } });
    const stream = await watch(by.client.connections);
    await stream.until(stream.isCurrent);
    const position = stream.position();
    await org.rest("PATCH", `/api/api-keys/${by.id}`, { connections: { rights: [{ id: one }] } });
    service.clock.advance(5_000);
    await stream.until(() => stream.ids().join() === one);
    expect(stream.messages.filter(({ reset }) => reset)).toHaveLength(2);
    const again = await watch(by.client.connections, position);
    await again.until(again.isCurrent);
    expect([again.messages[0]?.reset, again.ids()]).toEqual([true, [one]]);
    for (const each of [stream, again]) each.stop();
  });

  test("does not have what is private to another user, and says that it is gone when it becomes that", async () => {
    const { user } = await org.client.directory.upsertUser({ email: "her@bank.example" });
    const hers = await keyFor({ actAsUserId: user?.id });
    const id = await connect(hers);
    const plain = await keyFor();
    const managing = await keyFor({ scopes: ["connections:view", "connections:manage"] });
    const [theirs, own, all] = await Promise.all([current(plain), current(hers), current(managing)]);
    const made = await hers.rest("PATCH", `/api/connections/${id}`, { visibility: "owner" });
    expect(made.status).toBe(200);
    await theirs.until(() => !theirs.known.has(id));
    await own.until(() => own.known.get(id)?.visibility === "owner");
    await all.until(() => all.known.get(id)?.visibility === "owner");
    await hers.rest("PATCH", `/api/connections/${id}`, { name: "private" });
    await own.until(() => own.known.get(id)?.name === "private");
    await hers.client.connections.deleteConnection({ id });
    await own.until(() => !own.known.has(id));
    const said = theirs.messages.flatMap(({ removedIds }) => removedIds).filter((one) => one === id);
    expect(said).toHaveLength(1);
    for (const stream of [theirs, own, all]) stream.stop();
  });

  test("of one organisation has nothing of another", async () => {
    const other = await service.newOrganization("globex");
    const stream = await watch(other.client.connections);
    await stream.until(stream.isCurrent);
    const id = await connect();
    await org.client.connections.deleteConnection({ id });
    service.clock.advance(15_000);
    await stream.until(() => stream.messages.length > 2);
    expect(stream.messages.flatMap(({ connections, removedIds }) => [...connections, ...removedIds])).toEqual(
      [],
    );
    const foreign = await watch(other.client.connections, (await current(org)).position());
    await foreign.until(foreign.isCurrent);
    expect([foreign.messages[0]?.reset, foreign.ids()]).toEqual([true, []]);
    for (const one of [stream, foreign]) one.stop();
  });

  test("has many connections in messages that every client takes", async () => {
    const tenant = await service.newOrganization("large");
    await integrate(tenant);
    const ids: string[] = [];
    for (let n = 0; n < 55; n++) ids.push(await connect(tenant, n < 12 ? { metadata } : {}));
    const stream = await current(tenant);
    expect(stream.ids()).toEqual(ids.toSorted());
    const largest = stream.messages.map(
      ({ connections }) => JSON.stringify(connections.map((one) => one.metadata)).length,
    );
    expect(Math.max(...largest)).toBeLessThan(1024 * 1024);
    stream.stop();
  });

  test("without changes has a message that says only how far", async () => {
    const stream = await current(org);
    const before = stream.messages.length;
    service.clock.advance(15_000);
    await stream.until(() => stream.messages.length > before);
    expect(stream.messages.at(-1)).toMatchObject({
      connections: [],
      removedIds: [],
      reset: false,
      current: true,
    });
    stream.stop();
  });

  test("begins anew with a position whose farewells are forgotten, or that is ahead of all changes", async () => {
    const tenant = await service.newOrganization("long ago");
    await integrate(tenant);
    const kept = await connect(tenant);
    const gone = await connect(tenant);
    const first = await current(tenant);
    const [position] = [first.position(), first.stop()];
    await tenant.client.connections.deleteConnection({ id: gone });
    await service.postgres.asOwner(
      "update connection_farewells set at = '2000-01-01' where connection_id = $1",
      [gone],
    );
    await service.app.loops.health.runOnce();
    const late = await watch(tenant.client.connections, position);
    await late.until(late.isCurrent);
    expect([late.messages[0]?.reset, late.ids()]).toEqual([true, [kept]]);
    // As after a restore of an older state.
    await service.postgres.asOwner("update connection_heads set seq = 0, kept_from = 0 where org_id = $1", [
      tenant.orgId,
    ]);
    const ahead = await watch(tenant.client.connections, late.position());
    await ahead.until(ahead.isCurrent);
    expect([ahead.messages[0]?.reset, ahead.ids()]).toEqual([true, [kept]]);
    for (const one of [late, ahead]) one.stop();
  });

  test.each(["nonsense", "cDE6WyJhIiwiYiJd", "cDE6", "p1:", "AAAA"])(
    "refuses the position %s",
    async (position) => {
      const stream = await watch(org.client.connections, position);
      expect(await stream.ended).toMatchObject({
        code: Code.InvalidArgument,
        rawMessage: expect.stringContaining("position: not one that this method sent"),
      });
    },
  );

  test("says that its deadline is over when that ends it", async () => {
    const logged = service.watchLog();
    const body = Buffer.from("{}");
    const reply = await fetch(`${service.url}/patchbay.connections.v1.ConnectionService/WatchConnections`, {
      method: "POST",
      headers: {
        ...{ "content-type": "application/connect+json", "connect-protocol-version": "1" },
        ...{ "connect-timeout-ms": "300", authorization: `Bearer ${org.secret}` },
      },
      body: Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]),
    });
    expect(await reply.text()).toMatch(/"code":"deadline_exceeded"[^]*$/);
    expect(logged()).not.toMatch(/"level":(?:40|50)/);
  });

  test("ends within seconds when its key is revoked, and when the service stops, then with a place to go on", async () => {
    const by = await keyFor();
    const revoked = await watch(by.client.connections);
    await revoked.until(revoked.isCurrent);
    await org.client.apiKeys.revokeApiKey({ id: by.id });
    service.clock.advance(5_000);
    expect((await revoked.ended)?.code).toBe(Code.Unauthenticated);

    const stream = await watch(replicas.other.as(org.secret).client.connections);
    await stream.until(stream.isCurrent);
    const closed = replicas.other.app.close(5_000);
    const why = await stream.ended;
    expect([why?.code, reasonOf(why)]).toEqual([Code.Unavailable, "STREAM_ENDED"]);
    expect(await closed).toBe(true);
    const id = await connect();
    const further = await watch(org.client.connections, stream.position());
    await further.until(() => further.known.has(id));
    expect(further.messages.some(({ reset }) => reset)).toBe(false);
    further.stop();
  });
});

/** A stream that was sent all. */
async function current(by: Presenter) {
  const stream = await watch(by.client.connections);
  await stream.until(stream.isCurrent);
  return stream;
}

test("a watcher that reads nothing is cut", async () => {
  const logged = service.watchLog();
  const tenant = await service.newOrganization("silent");
  await integrate(tenant);
  for (let n = 0; n < 12; n++) await connect(tenant, { metadata });
  const session = connectHttp2(service.url, { settings: { initialWindowSize: 1 } });
  closing.push(() => session.destroy());
  const body = toBinary(WatchConnectionsRequestSchema, create(WatchConnectionsRequestSchema));
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
  const stream = session.request({
    ":method": "POST",
    ":path": "/patchbay.connections.v1.ConnectionService/WatchConnections",
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${tenant.secret}`,
  });
  stream.on("error", () => {});
  stream.end(frame);
  const [answered] = (await once(stream, "response")) as [IncomingHttpHeaders];
  const isCut = () => {
    service.clock.advance(5_000);
    return service.logged().includes(String(answered["x-request-id"]));
  };
  await vi.waitUntil(isCut, { timeout: 30_000, interval: 50 });
  expect(logged()).not.toMatch(/"level":(?:40|50)/);
});
