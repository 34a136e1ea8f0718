import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { eventOfRecord } from "#src/eventlog/audit-events.ts";
import { selectedType } from "#src/eventlog/selection.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { startWebhooks, type WebhookService } from "../support/webhooks.ts";

let webhooks: WebhookService;
let upstream: Upstream;

beforeAll(async () => {
  webhooks = await startWebhooks();
  upstream = await startUpstream();
});
afterEach(() => webhooks.service.postgres.asOwner("delete from webhook_endpoints"));
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await webhooks[Symbol.asyncDispose]();
});

/** How many endpoints have something to do after a look at these logs, or at all. */
async function woken(logs: string[] | null = null): Promise<number> {
  const [row] = await webhooks.service.postgres.asOwner(
    "select wake_webhooks('sandbox', $1, $2, $3) as woken",
    [...[webhooks.service.clock.now().toISOString(), logs && [webhooks.service.org.orgId], logs]],
  );
  return Number(row?.["woken"]);
}

const cursorOf = async () => {
  const [cursor] = (await webhooks.rows("webhook_cursors")).filter(({ log }) => log === "service");
  return Number(cursor?.["seq"]);
};

test("events that an endpoint's types do not select cost it no turn, and its cursor goes on", async () => {
  await webhooks.endpoint({ url: upstream.url, types: ["test.*", "api_key.*"] });
  const before = await cursorOf();
  await webhooks.happen("other.a", ["1", "2", "3"]);
  await webhooks.service.org.client.directory.upsertUser({ email: "ann@example.com" });
  expect(await woken(["service"])).toBe(0);
  expect(await cursorOf()).toBe(before);
  expect(await woken()).toBe(0);
  expect(await cursorOf()).toBe(before + 3);
  await webhooks.happen("other.b", Array<string>(100).fill("4"));
  expect(await woken(["service"])).toBe(0);
  expect(await cursorOf()).toBe(before + 103);
  await webhooks.happen("test.b", ["5"]);
  await webhooks.happen("other.b", ["6"]);
  expect(await woken(["service"])).toBe(1);
});

test("an event that comes while its endpoint has a turn goes out after it, and others of its log do not", async () => {
  const id = await webhooks.endpoint({ url: upstream.url });
  let answering: (() => Promise<void>) | undefined;
  upstream.answer(async () => {
    const first = answering;
    answering = undefined;
    await first?.();
    return {};
  });
  const dueAfter = async (type: string) => {
    answering = () => webhooks.happen(type, ["2"]);
    await webhooks.happen("test.a", ["1"]);
    await webhooks.run();
    return (await webhooks.state(id))["due_at"];
  };
  const before = upstream.asked.length;
  expect(await dueAfter("other.a")).toBeNull();
  expect(upstream.asked).toHaveLength(before + 1);
  expect(await dueAfter("test.b")).toBeNull();
  expect(upstream.asked).toHaveLength(before + 3);
});

test("an endpoint is woken where events before its own are gone, or there are too many to look through", async () => {
  await webhooks.endpoint({ url: upstream.url });
  await webhooks.happen("other.a", ["1", "2"]);
  const last = (await cursorOf()) + 2;
  await webhooks.service.postgres.asOwner(`delete from events where log = 'service' and seq < ${last}`);
  expect(await woken()).toBe(1);
  await webhooks.run();
  await webhooks.service.postgres.asOwner("update log_heads set seq = seq + 1001 where log = 'service'");
  expect(await woken()).toBe(1);
});

test("the database leaves none asleep of whose types one selects the event", async () => {
  const name = fc.constantFrom("audit", "api_key", "connection", "channel", "a", "%", "_");
  const dotted = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("."));
  const log = fc.constantFrom("audit", "service", "chn_1", "chn_2");
  const prefix = fc.constantFrom("", "", "channel:chn_1/", "channel:", "channel:chn_");
  const pattern = fc
    .tuple(prefix, dotted, fc.nat(20), fc.boolean())
    .map(([start, text, end, isOpen]) => start + text.slice(0, end) + (isOpen ? "*" : ""));
  const cases = fc
    .sample(fc.record({ log, pattern, type: dotted }), 3_000)
    .map(({ log, pattern, type }) =>
      log === "audit"
        ? { log, pattern, type: `audit.${type}`, types: [`audit.${type}`] }
        : { log, pattern, type, types: [type] },
    );
  for (const action of ["api_key.rotate", "api_key.revoke", "connection.refresh"]) {
    const at = new Date();
    const hashes = { hash: Buffer.of(), previousHash: Buffer.of() };
    const whose = { orgId: "o", target: "t", apiKeyId: null, userId: null, requestId: null };
    const details = JSON.stringify({ status: { before: "ACTIVE", after: "NEEDS_REAUTH" } });
    const { types } = eventOfRecord({ ...whose, ...hashes, seq: 1, at, action, details } as never);
    expect(types).toHaveLength(2);
    for (const one of types) {
      cases.push({ log: "audit", pattern: one, type: `audit.${action}`, types: [...types] });
      cases.push({
        log: "audit",
        pattern: `${one.slice(0, 5)}*`,
        type: `audit.${action}`,
        types: [...types],
      });
    }
  }
  const rows = await webhooks.service.postgres.asOwner(
    `select webhook_may_select(pattern, log, type) as may
     from rows from (json_to_recordset($1::json) as (pattern text, log text, type text)) with ordinality order by ordinality`,
    [JSON.stringify(cases)],
  );
  const selected = cases.map((one) => selectedType(one, [one.pattern]) !== undefined);
  expect(selected.filter(Boolean).length).toBeGreaterThan(50);
  const asleep = cases.filter((_, i) => selected[i] && rows[i]?.["may"] !== true);
  expect(asleep).toEqual([]);
  // Of what is no record of the audit log, it says the same.
  expect(cases.filter(({ log }, i) => log !== "audit" && rows[i]?.["may"] !== selected[i])).toEqual([]);
});
