import { Code, ConnectError } from "@connectrpc/connect";
import { expect, vi } from "vitest";
import { createPatchbayClient } from "#src/client/node.ts";
import { assessDamage } from "../../support/event-storm.ts";
import type { Deployment } from "./deployment.ts";
import type { Write } from "./journal.ts";
import type { Load } from "./load.ts";
import { ask } from "./writers.ts";

/** What a record is, by its name: the credential that arrives through a connection, `active` for a key, or `gone`. */
type Records = ReadonlyMap<string, string>;

/**
 * Ends the load, and holds what its clients were told against what is there: what was acknowledged is there, what was
 * refused is not, and what nobody knows is there wholly or not at all, always with its audit event.
 */
export async function expectNothingLost(deployment: Deployment, load: Load): Promise<void> {
  await load.end();
  const { writes } = load.journal;
  const events = await auditEventsOf(deployment, writes);
  const expected = expectedRecords(writes, events);
  const found = new Map([...(await connectionsOf(deployment, load)), ...(await keysOf(deployment, load))]);
  const eventsOf = ({ requestId }: Write) => events.get(requestId)?.count ?? 0;
  expect({
    lost: writes.filter((write) => write.outcome === "acknowledged" && eventsOf(write) === 0),
    madeThoughRefused: writes.filter(
      (write) => write.outcome === "nothing was changed" && eventsOf(write) > 0,
    ),
    madeTwice: writes.filter((write) => eventsOf(write) > 1),
    half: [...expected].filter(([record, state]) => (found.get(record) ?? "gone") !== state),
    events: await assessDamage(deployment.asOwner, [load.channelId], load.acknowledged),
    record: await ask(deployment, "GET", "/api/audit/verify"),
  }).toMatchObject({
    ...{ lost: [], madeThoughRefused: [], madeTwice: [], half: [] },
    events: { lost: 0, doubled: 0, misnumbered: 0, logsWithGaps: 0 },
    record: { data: { valid: true } },
  });
}

/** Waits until the webhook endpoint was given every event as it was sent: what a killed process had begun comes half a minute later. */
export async function expectAllDelivered(load: Load): Promise<void> {
  const isDelivered = ({ log, seq }: { log: string; seq: number }) => load.delivered.has(`${log}.${seq}`);
  await vi.waitUntil(() => load.acknowledged.every(isDelivered), { timeout: 90_000 });
  expect(load.garbled).toEqual([]);
}

type AuditEvents = ReadonlyMap<string, { readonly count: number; readonly seq: number }>;

/** The audit events of the writes, by the ids of their requests. */
async function auditEventsOf({ asOwner }: Deployment, writes: readonly Write[]): Promise<AuditEvents> {
  const rows = await asOwner(
    `select request_id, count(*)::int as count, max(seq)::int as seq from audit_events
     where request_id = any($1::text[]) group by request_id`,
    [writes.map(({ requestId }) => requestId)],
  );
  return new Map(
    rows.map((row) => [String(row["request_id"]), { count: Number(row["count"]), seq: Number(row["seq"]) }]),
  );
}

/** What each record must be: what the last of its writes made of it that has an audit event. */
function expectedRecords(writes: readonly Write[], events: AuditEvents): Records {
  const expected = new Map<string, { state: string; seq: number }>();
  for (const { record, requestId, after } of writes) {
    const last = expected.get(record) ?? { state: "gone", seq: 0 };
    const seq = events.get(requestId)?.seq ?? 0;
    expected.set(record, seq > last.seq ? { state: after, seq } : last);
  }
  return new Map([...expected].map(([record, { state }]) => [record, state]));
}

/** Calls through every connection of the load that there is, and sees which credential arrives. */
async function connectionsOf(deployment: Deployment, { upstream }: Load): Promise<Map<string, string>> {
  const services: string[] = [];
  for await (const { connections } of pages(deployment, "/api/service-connections"))
    for (const { serviceSlug, baseUrl } of connections)
      if (baseUrl.startsWith(upstream.url)) services.push(serviceSlug);
  await inTurns(services, async (service) => {
    await ask(deployment, "POST", "/api/service-calls", { service, method: "GET", path: "/arrived" });
  });
  const arrived = upstream.asked.flatMap(({ url, headers }) => {
    const [, name] = /^\/(\w+)\/arrived$/.exec(url) ?? [];
    return name === undefined ? [] : [[name, headers.authorization] as const];
  });
  return new Map(
    arrived.map(([name, authorization]) => [
      `connection ${name}`,
      String(authorization).replace("Bearer ", ""),
    ]),
  );
}

/** What the list of keys says, and whether their secrets are taken. */
async function keysOf(deployment: Deployment, { secrets }: Load): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { apiKeys } of pages(deployment, "/api/api-keys"))
    for (const { name, revokedAt } of apiKeys)
      found.set(`key ${name}`, revokedAt === undefined ? "active" : "gone");
  await inTurns([...secrets], async ([name, secret]) => {
    const isTaken = await isAuthenticated(deployment, secret);
    const said = found.get(`key ${name}`) ?? "gone";
    if (isTaken !== (said === "active"))
      found.set(`key ${name}`, `${said}, but its secret is taken: ${isTaken}`);
  });
  return found;
}

async function isAuthenticated({ url }: Deployment, secret: string): Promise<boolean> {
  try {
    await createPatchbayClient({ baseUrl: url, apiKey: secret }).apiKeys.whoAmI({});
    return true;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.Unauthenticated) return false;
    throw error;
  }
}

async function* pages(deployment: Deployment, path: string) {
  for (let token = ""; ;) {
    const { data } = await ask(deployment, "GET", `${path}?pageSize=1000&pageToken=${token}`);
    yield data;
    if (data.nextPageToken === undefined) return;
    token = data.nextPageToken;
  }
}

async function inTurns<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const work = async () => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) await run(one);
  };
  await Promise.all(Array.from({ length: 8 }, work));
}
