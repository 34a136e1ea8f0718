import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startUpstream, type Asked, type Upstream } from "../support/upstream.ts";
import { startWebhooks, type WebhookService } from "../support/webhooks.ts";

let webhooks: WebhookService;
let upstream: Upstream;

beforeAll(async () => {
  webhooks = await startWebhooks();
});
afterAll(() => webhooks[Symbol.asyncDispose]());
beforeEach(async () => {
  upstream = await startUpstream();
});
afterEach(async () => {
  await webhooks.service.postgres.asOwner("delete from webhook_endpoints");
  await upstream[Symbol.asyncDispose]();
});

const minutes = (n: number) => n * 60_000;
const hours = (n: number) => minutes(60 * n);
const subjectOf = ({ body }: Asked) => (JSON.parse(body) as { subject: string }).subject;
const numberOf = ({ headers }: Asked) => Number(String(headers["x-qe-sequence"]).split(":")[1]);
const subjects = () => upstream.asked.map(subjectOf);
/** Answers 500 for events of these subjects. */
const failFor = (...failing: string[]) =>
  upstream.answer((asked) => ({ status: failing.includes(subjectOf(asked)) ? 500 : 200 }));

test("an endpoint gets each event that its types select once, numbered and signed, and none of the others", async () => {
  await webhooks.endpoint({ url: upstream.url, types: ["test.*", "audit.user.*"], ordering: "log" });
  await webhooks.happen("test.a", ["1"]);
  await webhooks.happen("other.b", ["2"]);
  await webhooks.happen("test.c", ["3", "4"]);
  await webhooks.service.org.client.directory.upsertUser({ email: "ann@example.com" });
  await webhooks.run();
  await webhooks.run();
  const own = upstream.asked.filter(({ headers }) => headers["x-qe-sequence"]?.includes("service"));
  expect(own.map(subjectOf)).toEqual(["1", "3", "4"]);
  const numbers = own.map(({ headers }) => [headers["x-qe-sequence"], headers["x-qe-previous"]]);
  const [first] = /\d+/.exec(String(numbers[0]?.[0])) ?? [];
  const at = (after: number) => `service:${Number(first) + after}`;
  expect(numbers).toEqual([
    [at(0), "service:-"],
    [at(2), at(0)],
    [at(3), at(2)],
  ]);
  const recorded = upstream.asked.filter((one) => !own.includes(one));
  expect(recorded).toHaveLength(1);
  expect(JSON.parse(recorded[0]!.body)).toMatchObject({ type: "audit.user.create", qelog: "audit" });
  for (const { body, headers } of upstream.asked) {
    new Webhook(webhooks.secret).verify(body, headers as Record<string, string>);
  }
});

test("an event that fails waits for its time, and holds up no other", async () => {
  await webhooks.endpoint({ url: upstream.url });
  failFor("2");
  await webhooks.happen("test.a", ["1", "2", "3"]);
  await webhooks.run();
  expect(subjects().toSorted()).toEqual(["1", "2", "3"]);
  await webhooks.run(4_000);
  expect(upstream.asked).toHaveLength(3);
  await webhooks.run(2_000);
  expect(subjects().slice(3)).toEqual(["2"]);
  upstream.answer({});
  await webhooks.run(minutes(6));
  expect(subjects().slice(4)).toEqual(["2"]);
  const tries = upstream.asked.filter((asked) => subjectOf(asked) === "2").map(({ headers }) => headers);
  expect(tries.map((headers) => headers["x-qe-attempt"])).toEqual(["1", "2", "3"]);
  expect(new Set(tries.map((headers) => headers["webhook-id"])).size).toBe(1);
  expect(await webhooks.rows("webhook_parked")).toEqual([]);
  await webhooks.run(hours(48));
  expect(upstream.asked).toHaveLength(5);
});

test("where order is kept by subject, later events of a subject that failed wait for it, and others pass", async () => {
  await webhooks.endpoint({ url: upstream.url, ordering: "subject", maxInFlight: 4 });
  failFor("a");
  await webhooks.happen("test.1", ["a", "b", "a", "b"]);
  await webhooks.run();
  await webhooks.happen("test.2", ["a", "b"]);
  await webhooks.run();
  expect(subjects().toSorted()).toEqual(["a", "b", "b", "b"]);
  const numbersOf = (subject: string) =>
    upstream.asked.filter((asked) => subjectOf(asked) === subject).map(numberOf);
  expect(numbersOf("b")).toEqual(numbersOf("b").toSorted((one, other) => one - other));
  upstream.answer({});
  await webhooks.run(6_000);
  const [failed, ...sent] = numbersOf("a");
  expect(sent).toEqual([failed, failed! + 2, failed! + 4]);
});

test("where order is kept by log, all waits for the event that failed, until it is given up", async () => {
  await webhooks.endpoint({ url: upstream.url, ordering: "log" });
  failFor("1");
  await webhooks.happen("test.a", ["0", "1", "2"]);
  await webhooks.run();
  expect(subjects()).toEqual(["0", "1"]);
  for (let i = 0; i < 20 && !subjects().includes("2"); i++) await webhooks.run(hours(13));
  expect(subjects().at(-1)).toBe("2");
  expect(upstream.asked.filter((asked) => subjectOf(asked) === "1").length).toBeGreaterThanOrEqual(10);
  expect(await webhooks.rows("webhook_parked")).toMatchObject([
    { subject: "1", next_try_at: null, last_status: 500 },
  ]);
});

test("an endpoint that fails is tried with one event at a time, more and more rarely, and gets all of it once it is back", async () => {
  const id = await webhooks.endpoint({ url: upstream.url });
  upstream.answer({ status: 500 });
  const many = Array.from({ length: 60 }, (_, i) => String(i));
  await webhooks.happen("test.a", many);
  await webhooks.run();
  // Four are under way when the fifth failure is known, at most.
  expect([5, 6, 7, 8]).toContain(upstream.asked.length);
  expect(await webhooks.state(id)).toMatchObject({ state: "failing" });
  for (const seconds of [6, 25, 100, 400]) {
    const before = upstream.asked.length;
    await webhooks.run(seconds * 1_000);
    expect(upstream.asked).toHaveLength(before + 1);
  }
  upstream.answer({});
  const before = upstream.asked.length;
  await webhooks.run(hours(1.2));
  expect(new Set(upstream.asked.slice(before).map(subjectOf))).toEqual(new Set(many));
  expect(upstream.asked.slice(before)).toHaveLength(60);
  expect(await webhooks.state(id)).toMatchObject({ state: "active", failures: 0, failing_since: null });
});

test("events that an endpoint never takes do not keep the others from it", async () => {
  await webhooks.endpoint({ url: upstream.url, maxInFlight: 1 });
  failFor("bad");
  await webhooks.happen("test.a", [...Array<string>(6).fill("bad"), "good", "better"]);
  for (let i = 0; i < 4; i++) await webhooks.run(minutes(10));
  expect(subjects()).toEqual(expect.arrayContaining(["good", "better"]));
});

test("others learn of an endpoint that fails for an hour and for a day, and after five days it is paused", async () => {
  const id = await webhooks.endpoint({ url: upstream.url });
  const other = await startUpstream();
  await webhooks.endpoint({ url: other.url, types: ["webhook.*", "audit.webhook.*"] });
  upstream.answer({ status: 503 });
  await webhooks.happen("test.a", ["1", "2", "3", "4", "5"]);
  for (let i = 0; i < 22; i++) await webhooks.run(hours(6));
  const told = other.asked.map(({ body }) => JSON.parse(body) as { type: string; subject: string });
  expect(
    told
      .filter(({ subject }) => subject === id)
      .map(({ type }) => type)
      .toSorted(),
  ).toEqual([...["audit.webhook.pause", "webhook.failing", "webhook.failing", "webhook.paused"]]);
  expect(await webhooks.state(id)).toMatchObject({
    state: "paused",
    state_reason: "failing",
    due_at: null,
  });
  const before = upstream.asked.length;
  await webhooks.happen("test.b", ["6"]);
  await webhooks.run(hours(24));
  expect(upstream.asked).toHaveLength(before);
  await other[Symbol.asyncDispose]();
});

test("an endpoint that says it is gone gets nothing more, and its event is kept", async () => {
  const id = await webhooks.endpoint({ url: upstream.url, ordering: "log" });
  upstream.answer({ status: 410 });
  await webhooks.happen("test.a", ["1", "2"]);
  await webhooks.run();
  await webhooks.run(hours(100));
  expect(subjects()).toEqual(["1"]);
  expect(await webhooks.state(id)).toMatchObject({
    state: "paused",
    state_reason: "gone",
  });
  expect(await webhooks.rows("webhook_parked")).toMatchObject([{ subject: "1", dead_at: null }]);
});

test("an endpoint that asks to be left alone is left alone for so long", async () => {
  await webhooks.endpoint({ url: upstream.url, maxInFlight: 1 });
  upstream.answer({ status: 429, headers: { "retry-after": "600" } });
  await webhooks.happen("test.a", ["1", "2"]);
  await webhooks.run();
  await webhooks.run(minutes(9));
  expect(upstream.asked).toHaveLength(1);
  upstream.answer({});
  await webhooks.run(minutes(2));
  expect(subjects().slice(1).toSorted()).toEqual(["1", "2"]);
});

test("what is redelivered is sent also if it was sent before, under its id or the one that was chosen", async () => {
  const id = await webhooks.endpoint({ url: upstream.url });
  await webhooks.happen("test.a", ["1"]);
  await webhooks.run();
  const { postgres, org, clock } = webhooks.service;
  const seq = numberOf(upstream.asked[0]!);
  const rows = [[seq, "own"]] as const;
  for (const [number, webhookId] of rows) {
    await postgres.asOwner(
      `insert into webhook_parked (org_id, endpoint_id, log, seq, attempts, next_try_at, redelivery, webhook_id, parked_at)
       values ($1, $2, 'service', $3, 0, $4, true, $5, $4)`,
      [org.orgId, id, number, clock.now().toISOString(), webhookId],
    );
  }
  await postgres.asOwner("update webhook_endpoints set due_at = $1", [clock.now().toISOString()]);
  await webhooks.run();
  expect(upstream.asked.at(-1)!.headers).toMatchObject({ "x-qe-redelivery": "true", "webhook-id": "own" });
  expect(await webhooks.rows("webhook_parked")).toEqual([]);
});

test("attempts tell status, time and how far it came; those that succeeded are kept for an endpoint that wants them", async () => {
  const id = await webhooks.endpoint({ url: upstream.url, keepSuccesses: true });
  const quiet = await webhooks.endpoint({ url: "http://127.0.0.1:1/", headers: { "x-team": "a" } });
  await webhooks.happen("test.a", ["1"]);
  await webhooks.run();
  const of = async (endpoint: string) =>
    (await webhooks.service.org.client.webhooks.listWebhookAttempts({ id: endpoint })).attempts;
  expect(await of(id)).toMatchObject([{ attempt: 1, status: 200, answerType: "application/json" }]);
  expect(await of(quiet)).toMatchObject([{ attempt: 1, stage: "TCP" }]);
});

test("types that are paused are not sent, and neither are those of another environment's endpoints", async () => {
  await webhooks.endpoint({ url: upstream.url, types: ["test.a", "test.b"], pausedTypes: ["test.a"] });
  await webhooks.endpoint({ url: upstream.url, environment: "live" });
  await webhooks.happen("test.a", ["1"]);
  await webhooks.happen("test.b", ["2"]);
  await webhooks.run();
  expect(subjects()).toEqual(["2"]);
});

test("an endpoint with a rate gets no more in a second, and its own headers with each", async () => {
  await webhooks.endpoint({ url: upstream.url, perSecond: 2, headers: { authorization: "Bearer own" } });
  await webhooks.happen("test.a", ["1", "2", "3", "4", "5"]);
  const sent: number[] = [];
  for (let i = 0; i < 3; i++) {
    await webhooks.run(i === 0 ? 0 : 1_000);
    sent.push(upstream.asked.length);
  }
  expect(sent).toEqual([2, 4, 5]);
  expect(upstream.asked.every(({ headers }) => headers.authorization === "Bearer own")).toBe(true);
});

test("where all waits for an event that is given up, the endpoint can rather pause, and keeps it", async () => {
  const id = await webhooks.endpoint({ url: upstream.url, ordering: "log", afterSchedule: "pause" });
  upstream.answer({ status: 500 });
  await webhooks.happen("test.a", ["1", "2"]);
  for (let i = 0; i < 12; i++) await webhooks.run(hours(9));
  expect(await webhooks.state(id)).toMatchObject({
    state: "paused",
    state_reason: "gave_up",
  });
  expect(await webhooks.rows("webhook_parked")).toMatchObject([{ subject: "1", dead_at: null }]);
  expect(subjects()).not.toContain("2");
});

test("what is no longer kept when its time comes is listed as given up, and the log goes on behind it", async () => {
  await webhooks.endpoint({ url: upstream.url });
  failFor("1");
  await webhooks.happen("test.a", ["1"]);
  await webhooks.run();
  upstream.answer({});
  await webhooks.run(hours(9 * 24));
  expect(await webhooks.rows("webhook_parked")).toMatchObject([{ subject: "1", last_stage: "EXPIRED" }]);
  await webhooks.happen("test.a", ["2"]);
  await webhooks.run();
  expect(subjects()).toEqual(["1", "2"]);
});

test("attempts have a day to be kept in without any upkeep, which drops it when it is over", async () => {
  const ask = (query: string) => webhooks.service.postgres.asOwner(query);
  const attempts = () => ask("select at from webhook_attempts");
  const days = async () => {
    const rows = await ask(
      "select inhrelid::regclass::text as day from pg_inherits where inhparent = 'webhook_attempts'::regclass",
    );
    return rows.map(({ day }) => String(day));
  };
  await webhooks.endpoint({ url: upstream.url, types: ["audit.user.*"], keepSuccesses: true });
  webhooks.service.clock.advance(hours(24 * 10));
  // Of a change: events of our own have made days for all that is kept.
  await webhooks.service.org.client.directory.upsertUser({ email: "bob@example.com" });
  await webhooks.run();
  expect(await attempts()).not.toEqual([]);
  const before = await days();
  webhooks.service.clock.advance(hours(24 * 40));
  await webhooks.service.app.loops.logs.runOnce();
  expect((await days()).filter((day) => before.includes(day))).toEqual([]);
  expect(await attempts()).toEqual([]);
});
