import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reasonOf, type PatchbayClient } from "#src/client/node.ts";
import { startEvents, type TestEvents } from "./support.ts";

let logs: TestEvents;
let groups: PatchbayClient["eventGroups"];
beforeAll(async () => {
  logs = await startEvents();
  groups = logs.service.org.client.eventGroups;
});
afterAll(() => logs[Symbol.asyncDispose]());

const earliest = { case: "earliest", value: true } as const;
const day = 24 * 60 * 60 * 1000;

async function pull(id: string) {
  const { deliveries } = await groups.pullEvents({ id, max: 100 });
  return deliveries.map(({ event }) => Number(event!.seq));
}

async function failure(call: Promise<unknown>) {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return [reasonOf(error), error instanceof Error ? error.message : ""] as const;
}

/** A key with these scopes, and what it can do. */
async function keyWith(scopes: string[], more: object = {}) {
  const { secret } = await logs.service.org.client.apiKeys.createApiKey({ name: "worker", scopes, ...more });
  return logs.service.as(secret).client.eventGroups;
}

describe("a group", () => {
  test("begins and goes on where it is asked to, and refuses what its log does not reach", async () => {
    const log = await logs.newChannel();
    await logs.send(log, {}, {});
    logs.service.clock.advance(60_000);
    const since = timestampFromDate(logs.service.clock.now());
    await logs.send(log, {}, {});
    const create = async (from?: object) => {
      const { group } = await groups.createEventGroup({
        name: "workers",
        log,
        ...(from && { from }),
      } as never);
      return group!.id;
    };
    expect(await pull(await create())).toEqual([]);
    expect(await pull(await create(earliest))).toEqual([1, 2, 3, 4]);
    expect(await pull(await create({ case: "after", value: 1n }))).toEqual([2, 3, 4]);
    const id = await create({ case: "since", value: since });
    expect(await pull(id)).toEqual([3, 4]);
    const ahead = { case: "after", value: 5n } as const;
    const [reason, message] = await failure(groups.seekEventGroup({ id, from: ahead }));
    expect([reason, message]).toEqual(["CURSOR_AHEAD", expect.stringContaining("number 4")]);
    await groups.seekEventGroup({ id, from: { case: "latest", value: true } });
    expect(await pull(id)).toEqual([]);
  });

  test("that is sought elsewhere takes no word of what it gave out before", async () => {
    const log = await logs.newChannel();
    const { group } = await groups.createEventGroup({ name: "workers", log });
    const { id } = group!;
    await logs.send(log, {}, {});
    const tokens = (await groups.pullEvents({ id })).deliveries.map(({ token }) => token);
    const sought = await groups.seekEventGroup({ id, from: earliest });
    expect(sought.group).toMatchObject({ position: 0n, inFlight: 0, behind: 2n });
    expect(await failure(groups.ackEvents({ id, tokens }))).toMatchObject([
      "DELIVERY_OVER",
      expect.anything(),
    ]);
    expect(await pull(id)).toEqual([1, 2]);
  });

  test("says what its log no longer keeps, and lists what is lost of what it gave out", async () => {
    const log = await logs.newChannel();
    const { group } = await groups.createEventGroup({ name: "workers", log });
    const { id } = group!;
    await logs.send(log, {}, {}, {});
    await groups.pullEvents({ id, max: 1 });
    logs.service.clock.advance(9 * day);
    await logs.service.app.loops.logs.runOnce();
    await logs.newChannel();
    const [reason, message] = await failure(groups.pullEvents({ id }));
    expect([reason, message]).toEqual(["CURSOR_EXPIRED", expect.stringContaining("before number 4")]);
    const { events } = await groups.listDeadEvents({ id });
    expect(events).toMatchObject([{ seq: 1n, reason: "expired" }]);
    expect(events[0]!.event).toBe(undefined);
    await groups.seekEventGroup({ id, from: earliest });
    await logs.send(log, {});
    expect(await pull(id)).toEqual([4]);
  });

  test("is given only events of its types, however many others there are", async () => {
    const log = await logs.newChannel();
    const wanted = { name: "workers", log, types: [`channel:${log}/payment.*`] };
    const { group } = await groups.createEventGroup(wanted);
    const others = Array.from({ length: 100 }, () => ({ type: "noise.made" }));
    await logs.send(log, ...others);
    await logs.send(log, ...others);
    await logs.send(log, ...others, { type: "payment.settled" });
    const { id } = group!;
    expect(await pull(id)).toEqual([301]);
    const [reason, message] = await failure(groups.createEventGroup({ ...wanted, types: ["payment.*"] }));
    expect([reason, message]).toEqual([
      "INVALID_REQUEST",
      expect.stringContaining(`such as channel:${log}/payment.*`),
    ]);
  });

  test("whose log is gone says so, and can be deleted", async () => {
    const log = await logs.newChannel();
    const { group } = await groups.createEventGroup({ name: "workers", log });
    const { id } = group!;
    await logs.service.org.client.channels.deleteChannel({ id: log });
    expect(await failure(groups.pullEvents({ id }))).toMatchObject(["LOG_NOT_FOUND", expect.anything()]);
    expect((await groups.getEventGroup({ id })).group!.behind).toBe(undefined);
    await groups.deleteEventGroup({ id });
    expect(await failure(groups.deleteEventGroup({ id }))).toMatchObject(["NOT_FOUND", expect.anything()]);
  });

  test("of another organisation looks like one that does not exist, on every method", async () => {
    const log = await logs.newChannel();
    const { group } = await groups.createEventGroup({ name: "workers", log });
    const globex = (await logs.service.newOrganization("globex")).client.eventGroups;
    const tokens = [`${"a".repeat(22)}.1`];
    const asked = (id: string) => [
      globex.getEventGroup({ id }),
      globex.seekEventGroup({ id, from: earliest }),
      globex.pullEvents({ id }),
      globex.ackEvents({ id, tokens }),
      globex.nackEvents({ id, tokens }),
      globex.extendEvents({ id, tokens }),
      globex.listDeadEvents({ id }),
      globex.redeliverEvents({ id, seqs: [1n] }),
      globex.deleteEventGroup({ id }),
    ];
    const theirs = await Promise.all(asked(group!.id).map(failure));
    const unknown = await Promise.all(asked("grp_unknown").map(failure));
    expect(theirs).toEqual(unknown);
    expect(new Set(theirs.map(([reason]) => reason))).toEqual(new Set(["NOT_FOUND"]));
    expect(await failure(globex.createEventGroup({ name: "workers", log }))).toMatchObject([
      "LOG_NOT_FOUND",
      expect.anything(),
    ]);
    expect((await globex.listEventGroups({})).groups).toEqual([]);
  });
});

describe("a group on a log of Patchbay's own", () => {
  test("delivers each change that is recorded, by its own name or as what it is in the audit log", async () => {
    const types = ["api_key.*", "audit.group.*"];
    const { group } = await groups.createEventGroup({ name: "changes", log: "audit", types });
    const { id } = group!;
    const { apiKeys } = logs.service.org.client;
    const { apiKey } = await apiKeys.createApiKey({ name: "bot", scopes: ["other:view"] });
    await apiKeys.revokeApiKey({ id: apiKey!.id });
    const { deliveries } = await groups.pullEvents({ id, waitSeconds: 20 });
    expect(deliveries.map(({ event }) => [event!.type, event!.subject])).toEqual([
      ["audit.group.create", id],
      ["api_key.revoked", apiKey!.id],
    ]);
  });

  test("ends a wait when the key may no longer read it", async () => {
    const { apiKeys } = logs.service.org.client;
    const scopes = ["events:consume", "audit:view"];
    const { apiKey, secret } = await apiKeys.createApiKey({ name: "narrowed", scopes });
    const { eventGroups } = logs.service.as(secret).client;
    const { group } = await eventGroups.createEventGroup({
      name: "changes",
      log: "audit",
      types: ["audit.connection.*"],
    });
    const { id } = group!;
    const waiting = failure(eventGroups.pullEvents({ id, waitSeconds: 30 }));
    // The pull came before it, on the same connection.
    await eventGroups.getEventGroup({ id });
    await apiKeys.updateApiKey({ id: apiKey!.id, scopes: ["events:consume"] });
    expect(await waiting).toEqual(["MISSING_SCOPE", expect.stringContaining("audit:view")]);
  });

  test("takes the right to read all of it", async () => {
    const create = (by: PatchbayClient["eventGroups"], log: string, types: string[] = []) =>
      failure(by.createEventGroup({ name: "changes", log, types }));
    const bare = await keyWith(["events:consume"]);
    expect(await create(bare, "audit")).toEqual(["MISSING_SCOPE", expect.stringContaining("audit:view")]);
    expect(await create(await keyWith(["events:consume", "events:view"]), "service", ["con*"])).toEqual([
      "MISSING_SCOPE",
      expect.stringContaining("connections:view"),
    ]);
    const some = await keyWith(["events:consume", "connections:view"]);
    expect(await create(some, "service", ["connection.*"])).toEqual([undefined, ""]);
    expect(await create(some, "service")).toEqual(["MISSING_SCOPE", expect.stringContaining("api:manage")]);
    const limited = await keyWith(["events:consume", "audit:view"], {
      connections: { rights: [{ connection: { case: "slug", value: "aml" } }] },
    });
    const [reason] = await create(limited, "audit");
    expect(reason).toBe("CONNECTION_NOT_ALLOWED");
    const { group } = await groups.createEventGroup({ name: "changes", log: "audit", from: earliest });
    const pulled = bare.pullEvents({ id: group!.id });
    await expect(pulled).rejects.toMatchObject({ code: Code.PermissionDenied });
  });
});
