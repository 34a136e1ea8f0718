import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ResumeWebhookEndpointRequestSchema } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
  // Makes the days that events are kept for.
});
afterAll(() => service[Symbol.asyncDispose]());

type From = MessageInitShape<typeof ResumeWebhookEndpointRequestSchema>["from"];

const url = "https://shop.example/hooks";
const hour = 60 * 60 * 1000;

const webhooks = () => service.org.client.webhooks;
const rows = (query: string) => service.postgres.asOwner(query);

async function newEndpoint(more: { types?: string[]; headers?: Record<string, string> } = {}) {
  const { endpoint } = await webhooks().createWebhookEndpoint({ url, types: ["audit.*"], ...more });
  return endpoint!;
}

let made = 0;

/** What the audit log has now: some events that an endpoint for `audit.api_key.*` gets, and others. */
async function happen(count: number): Promise<number[]> {
  const seqs: number[] = [];
  for (let i = 0; i < count; i += 1) {
    await service.org.client.apiKeys.createApiKey({ name: `k${i}`, scopes: ["other:view"] });
    await service.org.client.directory.upsertUser({ email: `u${made++}@example.com` });
    const { events } = await service.org.client.audit.listAuditEvents({
      action: "api_key.create",
      pageSize: 1,
    });
    seqs.push(Number(events[0]!.seq));
  }
  return seqs;
}

async function lastOfAudit(): Promise<bigint> {
  return (await service.org.client.audit.listAuditEvents({ pageSize: 1 })).events[0]!.seq;
}

/** What the service said of the endpoint itself. */
async function saidOf(id: string) {
  const said = await rows(
    `select type, convert_from(data, 'UTF8') as data from events where log = 'service' and subject = '${id}' order by seq`,
  );
  return said.map(({ type, data }) => ({ type, data: JSON.parse(String(data)) as unknown }));
}

describe("an update", () => {
  test("changes what it names, and nothing else", async () => {
    const before = await newEndpoint();
    const changed = await service.org.rest("PATCH", `/api/webhook-endpoints/${before.id}`, {
      ...{ description: "shop", ordering: "subject", format: "cloudevents", maxInFlight: 2, perSecond: 5 },
      failuresOnly: true,
    });
    expect(changed.body.data.endpoint).toMatchObject({
      ...{ url, types: ["audit.*"], description: "shop", ordering: "subject", format: "cloudevents" },
      ...{ maxInFlight: 2, perSecond: 5, keepSuccesses: false, afterSchedule: "skip" },
    });
    const cleared = await service.org.rest("PATCH", `/api/webhook-endpoints/${before.id}`, {
      ...{ description: null, perSecond: null },
    });
    expect(cleared.body.data.endpoint).toMatchObject({ description: "", maxInFlight: 2 });
    expect(cleared.body.data.endpoint).not.toHaveProperty("perSecond");
  });

  test.each([
    [{ url: "http://10.0.0.1" }, 400],
    [{ types: ["*"] }, 400],
    [{ headers: { host: "a" } }, 400],
    [{ id: "whe_other" }, 400],
    [{ url: null }, 400],
    [{}, 400],
  ])("%j is refused, and changes nothing", async (body, status) => {
    const before = await newEndpoint();
    expect((await service.org.rest("PATCH", `/api/webhook-endpoints/${before.id}`, body)).status).toBe(
      status,
    );
    expect((await webhooks().getWebhookEndpoint({ id: before.id })).endpoint).toEqual(before);
  });

  test("with other types begins new logs at their ends, and a new chain in all that it reads on", async () => {
    const { id } = await newEndpoint({ types: ["audit.*"] });
    const where = `where endpoint_id = '${id}'`;
    await rows(`update webhook_cursors set seq = 1, previous = 1 ${where}`);
    await webhooks().updateWebhookEndpoint({ id, types: ["audit.api_key.*", "webhook.*"] });
    const [head] = await rows("select seq from log_heads where log = 'service'");
    expect(await rows(`select log, seq, previous from webhook_cursors ${where} order by log`)).toEqual([
      { log: "audit", seq: "1", previous: null },
      { log: "service", seq: String(head?.["seq"] ?? 0), previous: null },
    ]);
    await rows(`insert into webhook_parked (org_id, endpoint_id, log, seq, attempts, redelivery, parked_at)
      select org_id, id, 'service', 7, 1, false, now() from webhook_endpoints where id = '${id}'`);
    const { endpoint } = await webhooks().updateWebhookEndpoint({ id, types: ["audit.api_key.*"] });
    expect(endpoint?.positions.map(({ log }) => log)).toEqual(["audit"]);
    expect(await rows(`select log from webhook_parked ${where}`)).toEqual([]);
  });

  test("that decides where events go needs the right to read them, and others do not", async () => {
    const endpoint = await newEndpoint({ headers: { "x-code": "1" } });
    const { apiKey, secret } = await service.org.client.apiKeys.createApiKey({
      ...{ name: "hooks", scopes: ["webhooks:manage", "api:manage"] },
    });
    const other = service.as(secret).client.webhooks;
    for (const change of [{ url: "https://elsewhere.example" }, { headers: { "x-code": "2" } }]) {
      await expect(other.updateWebhookEndpoint({ id: endpoint.id, ...change })).rejects.toMatchObject({
        code: Code.PermissionDenied,
        rawMessage: "missing scope: audit:view",
      });
    }
    const noted = await other.updateWebhookEndpoint({ id: endpoint.id, description: "noted" });
    expect(noted.endpoint).toMatchObject({ description: "noted", ownerKeyId: service.org.apiKeyId });
    const taken = await other.updateWebhookEndpoint({ id: endpoint.id, types: ["api_key.*"] });
    expect(taken.endpoint?.ownerKeyId).toBe(apiKey?.id);
  });
});

describe("a rotation", () => {
  test("keeps the previous secret for the grace, and refuses a third", async () => {
    const { id } = await newEndpoint();
    const first = await webhooks().rotateWebhookSecret({ id });
    expect(first.secret).toMatch(/^whsec_/);
    expect(first.endpoint?.secrets).toHaveLength(2);
    const dayLater = new Date(service.clock.now().getTime() + 24 * hour);
    expect(first.previousValidUntil).toEqual(timestampFromDate(dayLater));
    await expect(webhooks().rotateWebhookSecret({ id })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: expect.stringContaining(`good until ${dayLater.toISOString()}`),
    });
    const ended = await webhooks().rotateWebhookSecret({ id, graceSeconds: 0 });
    expect(ended.endpoint?.secrets).toHaveLength(1);
    const left = await rows(`select version, valid_until from webhook_secrets where endpoint_id = '${id}'`);
    expect(left).toEqual([{ version: 3, valid_until: null }]);
  });

  test("is free again when the grace is over, and the secret that has ended is erased", async () => {
    const { id } = await newEndpoint();
    await webhooks().rotateWebhookSecret({ id, graceSeconds: 60 });
    service.clock.advance(60_000);
    expect((await webhooks().getWebhookEndpoint({ id })).endpoint?.secrets).toHaveLength(1);
    await webhooks().rotateWebhookSecret({ id });
    const left = await rows(
      `select version from webhook_secrets where endpoint_id = '${id}' order by version`,
    );
    expect(left).toEqual([{ version: 2 }, { version: 3 }]);
  });

  test("and another one at the same time leave one of the two refused", async () => {
    const { id } = await newEndpoint();
    const both = await Promise.allSettled([1, 2].map(() => webhooks().rotateWebhookSecret({ id })));
    expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });
});

describe("a paused endpoint", () => {
  test("stands still until it is resumed, and both are said once", async () => {
    const before = await newEndpoint();
    const { id } = before;
    for (const _ of [1, 2]) {
      const { endpoint } = await webhooks().pauseWebhookEndpoint({ id });
      expect(endpoint).toMatchObject({
        state: "paused",
        stateReason: "called",
      });
    }
    expect(await rows(`select due_at from webhook_endpoints where id = '${id}'`)).toEqual([{ due_at: null }]);
    await happen(1);
    for (const _ of [1, 2]) {
      const { endpoint } = await webhooks().resumeWebhookEndpoint({ id });
      expect(endpoint).toMatchObject({ state: "active", positions: before.positions });
      expect(endpoint?.stateReason).toBeUndefined();
    }
    const [due] = await rows(`select due_at from webhook_endpoints where id = '${id}'`);
    expect(due?.["due_at"]).not.toBeNull();
    const { events } = await service.org.client.audit.listAuditEvents({ target: id });
    expect(events.map(({ action }) => action)).toEqual(["webhook.resume", "webhook.pause", "webhook.create"]);
    expect(await saidOf(id)).toMatchObject([
      { type: "webhook.paused", data: { endpointId: id, url } },
      { type: "webhook.resumed", data: { endpointId: id, positions: [{ log: "audit" }] } },
    ]);
  });

  test("goes on from a number, a time, or from now", async () => {
    const { id } = await newEndpoint();
    await webhooks().pauseWebhookEndpoint({ id });
    const [first = 0] = await happen(1);
    await happen(2);
    const { events } = await service.org.client.audit.listAuditEvents({});
    const since = events[3]!.at!;
    const before = events.filter(({ at }) => timestampDate(at!) < timestampDate(since));
    const positionAfter = async (from: NonNullable<From>) =>
      (await webhooks().resumeWebhookEndpoint({ id, from })).endpoint?.positions[0]?.seq;
    expect(await positionAfter({ case: "after", value: { log: "audit", seq: BigInt(first) } })).toBe(
      BigInt(first),
    );
    expect(await positionAfter({ case: "since", value: since })).toBe(before[0]?.seq);
    const last = await lastOfAudit();
    expect(await positionAfter({ case: "now", value: true })).toBe(last);
    await expect(positionAfter({ case: "after", value: { log: "service", seq: 1n } })).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "after.log: the endpoint reads audit; give one of them",
    });
    await expect(
      positionAfter({ case: "after", value: { log: "audit", seq: 1n << 40n } }),
    ).rejects.toMatchObject({
      code: Code.OutOfRange,
      rawMessage: expect.stringMatching(/^the last event of audit is number/),
    });
  });

  test("does not go on silently behind events that are no longer kept", async () => {
    const { id } = await newEndpoint({ types: ["webhook.*"] });
    await webhooks().pauseWebhookEndpoint({ id });
    await rows("update log_heads set seq = seq + 10 where log = 'service'");
    await rows("delete from events where log = 'service'");
    await rows("delete from log_days where log = 'service'");
    await expect(webhooks().resumeWebhookEndpoint({ id })).rejects.toMatchObject({ code: Code.OutOfRange });
    const { endpoint } = await webhooks().resumeWebhookEndpoint({ id, from: { case: "now", value: true } });
    expect(endpoint?.state).toBe("active");
  });
});

describe("what is sent again", () => {
  const parked = (id: string) =>
    rows(`select log, seq, attempts, redelivery, webhook_id, dead_at from webhook_parked
      where endpoint_id = '${id}' order by seq`);

  test("is all of a part of a log that the types select, also what was given up", async () => {
    const { id } = await newEndpoint({ types: ["audit.api_key.*"] });
    const seqs = await happen(3);
    await rows(`insert into webhook_parked (org_id, endpoint_id, log, seq, attempts, redelivery, parked_at, dead_at)
      select org_id, id, 'audit', ${seqs[1]}, 10, false, now(), now() from webhook_endpoints where id = '${id}'`);
    const dead = await webhooks().listDeadDeliveries({ id });
    expect(dead.deliveries).toMatchObject([{ log: "audit", seq: BigInt(seqs[1]!), attempts: 10 }]);
    const range = { id, log: "audit", fromSeq: BigInt(seqs[0]!), toSeq: BigInt(seqs[2]!) };
    expect(await webhooks().replayEvents(range)).toMatchObject({ queued: 3 });
    expect(await parked(id)).toEqual(
      seqs.map((seq) => ({
        ...{ log: "audit", seq: String(seq), attempts: 0, redelivery: true, webhook_id: null, dead_at: null },
      })),
    );
    expect((await webhooks().listDeadDeliveries({ id })).deliveries).toEqual([]);
    await webhooks().redeliverEvent({ id, log: "audit", seq: BigInt(seqs[0]!), newId: true });
    const [again] = await parked(id);
    expect(again?.["webhook_id"]).toMatch(new RegExp(`^audit\\.${seqs[0]}\\.[0-9a-f]{16}$`));
    const { events } = await service.org.client.audit.listAuditEvents({ target: id });
    expect(events.map(({ action }) => action)).toEqual([
      "webhook.redeliver",
      "webhook.replay",
      "webhook.create",
    ]);
  });

  test("is nothing that the endpoint would not get by itself", async () => {
    const { id } = await newEndpoint({ types: ["audit.webhook.*"] });
    const [seq = 0] = await happen(1);
    const redeliver = (log: string, number: bigint) => webhooks().redeliverEvent({ id, log, seq: number });
    await expect(redeliver("audit", BigInt(seq))).rejects.toMatchObject({ code: Code.FailedPrecondition });
    await expect(redeliver("service", 1n)).rejects.toMatchObject({ code: Code.FailedPrecondition });
    await expect(redeliver("chn_missing", 1n)).rejects.toMatchObject({ code: Code.FailedPrecondition });
    await expect(redeliver("audit", 1n << 40n)).rejects.toMatchObject({ code: Code.InvalidArgument });
    const tooMany = webhooks().replayEvents({ id, log: "audit", fromSeq: 1n, toSeq: 1_001n });
    await expect(tooMany).rejects.toMatchObject({ rawMessage: "toSeq: give a number from 1 to 1000" });
    const nothing = await webhooks().replayEvents({
      id,
      log: "audit",
      fromSeq: BigInt(seq),
      toSeq: BigInt(seq),
    });
    expect(nothing.queued).toBe(0);
    expect(await parked(id)).toEqual([]);
  });

  test("is nothing while the endpoint is paused, and is limited when it goes on", async () => {
    const { id } = await newEndpoint();
    await webhooks().pauseWebhookEndpoint({ id });
    const redeliver = () => webhooks().redeliverEvent({ id, log: "audit", seq: 1n });
    await expect(redeliver()).rejects.toMatchObject({
      rawMessage: expect.stringMatching(/^the endpoint is paused; let it go on first/),
    });
    await webhooks().resumeWebhookEndpoint({ id });
    for (let i = 0; i < 10; i += 1) await redeliver();
    await expect(redeliver()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  });
});

test("tries are listed newest first, page by page, failures alone and by log", async () => {
  const { id } = await newEndpoint();
  await rows(`create table if not exists webhook_attempts_of_test partition of webhook_attempts default`);
  // Two turns of two tries each, and one of one.
  await rows(`insert into webhook_attempts (org_id, endpoint_id, at, ends_on, tries)
    select org_id, id, min(at), '2026-02-01', json_agg(json_build_object('at', at, 'log', case when n = 3 then 'service' else 'audit' end,
      'seq', n, 'attempt', 1, 'status', case when n % 2 = 0 then 200 end, 'latencyMs', n, 'stage', case when n % 2 = 1 then 'TCP' end))
    from webhook_endpoints, generate_series(1, 5) n, lateral (select timestamptz '2026-01-01T00:00:00Z' + make_interval(secs => n / 2) as at) t
    where id = '${id}' group by org_id, id, n / 2`);
  const seen: number[] = [];
  let pageToken = "";
  do {
    const page = await webhooks().listWebhookAttempts({ id, pageSize: 2, pageToken });
    seen.push(...page.attempts.map(({ seq }) => Number(seq)));
    pageToken = page.nextPageToken ?? "";
  } while (pageToken !== "");
  expect(seen).toEqual([5, 4, 3, 2, 1]);
  const failures = await webhooks().listWebhookAttempts({ id, failuresOnly: true, log: "audit" });
  expect(failures.attempts).toMatchObject([
    { seq: 5n, stage: "TCP", latencyMs: 5 },
    { seq: 1n, stage: "TCP" },
  ]);
  expect(failures.attempts[0]?.status).toBeUndefined();
});

test("nothing of an endpoint of another organisation can be changed, sent or listed", async () => {
  const { id } = await newEndpoint();
  const { client } = await service.newOrganization("globex");
  const calls = [
    () => client.webhooks.updateWebhookEndpoint({ id, description: "x" }),
    () => client.webhooks.pauseWebhookEndpoint({ id }),
    () => client.webhooks.resumeWebhookEndpoint({ id }),
    () => client.webhooks.rotateWebhookSecret({ id }),
    () => client.webhooks.replayEvents({ id, log: "audit", fromSeq: 1n, toSeq: 1n }),
    () => client.webhooks.redeliverEvent({ id, log: "audit", seq: 1n }),
    () => client.webhooks.listWebhookAttempts({ id }),
    () => client.webhooks.listDeadDeliveries({ id }),
  ];
  for (const call of calls) {
    await expect(call()).rejects.toMatchObject({
      code: Code.NotFound,
      rawMessage: "no such endpoint; list them with GET /api/webhook-endpoints",
    });
  }
});
