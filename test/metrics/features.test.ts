import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Reason } from "#gen/patchbay/errors/v1/errors_pb.js";
import { createIntakeCounts } from "#src/eventlog/counts.ts";
import { QuotaExhausted } from "#src/eventlog/errors.ts";
import { createMetrics } from "#src/metrics/metrics.ts";
import { createOrders } from "../support/orders.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { startWebhooks, type WebhookService } from "../support/webhooks.ts";
import type { TestService } from "../support/service.ts";

let webhooks: WebhookService;
let service: TestService;
let upstream: Upstream;
let url: string;
/** What the service shows before anything has happened. */
let atTheStart: readonly string[];
beforeAll(async () => {
  webhooks = await startWebhooks({ limits: { callsPerMinute: 1_000 } });
  ({ service } = webhooks);
  upstream = await startUpstream();
  const { port } = await service.app.listenForMetrics("127.0.0.1", 0);
  url = `http://127.0.0.1:${port}/metrics`;
  atTheStart = [...(await samples()).keys()];
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await webhooks[Symbol.asyncDispose]();
});

const scrape = async () => (await fetch(url)).text();

/** The samples by their names and labels. */
async function samples(): Promise<ReadonlyMap<string, number>> {
  const lines = (await scrape()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

/** By how much the work moves a sample. */
async function moved(name: string, work: () => Promise<unknown>): Promise<number> {
  const before = (await samples()).get(name) ?? 0;
  await work();
  return ((await samples()).get(name) ?? 0) - before;
}

/** The sample moves by one, and by no more; the count comes once the answer is sent, which a client sees first. */
async function countsOnce(name: string, work: () => Promise<unknown>): Promise<void> {
  const before = (await samples()).get(name) ?? 0;
  await work();
  await expect.poll(async () => (await samples()).get(name) ?? 0, { timeout: 30_000 }).toBe(before + 1);
}

test("keys that services ask about are counted by what becomes of them", async () => {
  const { client, secret } = service.org;
  const ask = (key: string) => client.verification.verifyKey({ key });
  expect(await moved('patchbay_key_verdicts_total{outcome="good"}', () => ask(secret))).toBe(1);
  const refused = 'patchbay_key_verdicts_total{outcome="INVALID_BEARER"}';
  expect(await moved(refused, () => ask(`${secret}x`))).toBe(1);
});

test("a key that is remembered is a hit, and one that has to be looked up a miss", async () => {
  const { secret } = await service.newOrganization("globex");
  const me = () => service.as(secret).rest("GET", "/api/auth/me");
  expect(await moved("patchbay_key_cache_misses_total", me)).toBe(1);
  expect(await moved("patchbay_key_cache_misses_total", me)).toBe(0);
  expect(await moved("patchbay_key_cache_hits_total", me)).toBe(1);
});

test("a failed call is counted once by its reason, on each protocol, whatever threw it", async () => {
  const { org } = service;
  const notFound = 'patchbay_failures_total{reason="NOT_FOUND"}';
  const missing = { id: "conn_01ARZ3NDEKTSV4RRFFQ69G5FAV" };
  const rest = () => org.rest("GET", `/api/connections/${missing.id}`);
  const grpc = () => org.client.connections.getConnection(missing).catch(() => undefined);
  const connect = () =>
    fetch(`${service.url}/patchbay.connections.v1.ConnectionService/GetConnection`, {
      method: "POST",
      headers: { authorization: `Bearer ${org.secret}`, "content-type": "application/json" },
      body: JSON.stringify(missing),
    });
  for (const call of [rest, grpc, connect]) await countsOnce(notFound, call);
  const refused = 'patchbay_failures_total{reason="INVALID_BEARER"}';
  const stranger = service.as("nonsense");
  await countsOnce(refused, () => stranger.rest("GET", "/api/auth/me"));
  await countsOnce(refused, () => stranger.client.apiKeys.whoAmI({}).catch(() => undefined));
  await countsOnce(refused, () => fetch(`${service.url}/api/events/stream`));
});

test("a failed call is counted once if its protocol words the failure, before any code of ours has a message", async () => {
  const { org, url: base } = service;
  const post = (path: string, type: string, body: string | Uint8Array<ArrayBuffer>) => () =>
    fetch(base + path, {
      method: "POST",
      headers: { authorization: `Bearer ${org.secret}`, "content-type": type },
      body,
    }).then((response) => response.arrayBuffer());
  const malformed = 'patchbay_failures_total{reason="INVALID_REQUEST"}';
  const unary = "/patchbay.apikeys.v1.ApiKeyService/WhoAmI";
  const stream = "/patchbay.events.v1.EventService/Subscribe";
  const nonsense = Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]);
  await countsOnce(malformed, post(unary, "application/json", "{"));
  await countsOnce(malformed, post(stream, "application/connect+proto", nonsense));
  await countsOnce(malformed, post(stream, "application/grpc-web+proto", nonsense));
  const unknown = 'patchbay_failures_total{reason="UNKNOWN_PATH"}';
  await countsOnce(unknown, post("/patchbay.nothing.v1.No/Such", "application/grpc-web+proto", nonsense));
});

test("deliveries are counted by how they end, and first tries by how late they are", async () => {
  await webhooks.endpoint({ url: upstream.url });
  await webhooks.happen("test.a");
  const delivered = 'patchbay_webhook_deliveries_total{outcome="delivered"}';
  expect(await moved(delivered, () => webhooks.run(30_000))).toBe(1);
  const late = 'patchbay_webhook_delay_seconds_bucket{le="10"}';
  expect((await samples()).get(late)).toBe(0);
  expect((await samples()).get('patchbay_webhook_delay_seconds_bucket{le="60"}')).toBe(1);
  upstream.answer({ status: 500 });
  await webhooks.happen("test.a");
  expect(await moved('patchbay_webhook_deliveries_total{outcome="HTTP"}', () => webhooks.run())).toBe(1);
});

test("events are counted as new, as known, or as not stored", async () => {
  const { send } = await createOrders(service.org);
  const counted = (outcome: string) => `patchbay_events_received_total{outcome="${outcome}"}`;
  expect(await moved(counted("new"), () => send("1"))).toBe(1);
  expect(await moved(counted("known"), () => send("1"))).toBe(1);
  await service.postgres.asOwner("alter table log_heads rename to log_heads_away");
  try {
    expect(await moved(counted("not_stored"), () => send("2"))).toBe(1);
  } finally {
    await service.postgres.asOwner("alter table log_heads_away rename to log_heads");
  }
  expect((await samples()).get("patchbay_events_waiting")).toBe(0);
});

test("events that their organisation has no room for are counted apart from those that could not be stored", async () => {
  const metrics = createMetrics();
  const counts = createIntakeCounts(metrics);
  for (const refusal of [new QuotaExhausted(1, 1), new Error("the disk is full")]) {
    using counted = counts.arrived(3);
    counted.refused(refusal);
  }
  const { text } = await metrics.render();
  for (const outcome of ["no_room", "not_stored"]) {
    expect(text).toContain(`patchbay_events_received_total{outcome="${outcome}"} 3\n`);
  }
});

test("a key in a URL is counted, and the root key is timed", async () => {
  const key = 'patchbay_keys_in_urls_total{key="known"}';
  const before = (await samples()).get(key) ?? 0;
  await fetch(`${service.url}/api/auth/me?api_key=${service.org.secret}`);
  await expect.poll(async () => (await samples()).get(key), { timeout: 30_000 }).toBe(before + 1);
  const wraps = 'patchbay_root_key_seconds_count{operation="wrap",outcome="ok"}';
  expect((await samples()).get(wraps)).toBeGreaterThan(0);
});

test("connections to the database and bytes in memory are shown with their limits", async () => {
  const now = await samples();
  expect(now.get("patchbay_database_connections")).toBe(6);
  expect(now.get("patchbay_held_bytes_limit")).toBe(256 * 1024 * 1024);
  expect(now.get("patchbay_held_bytes")).toBe(0);
  for (const name of ["connections_in_use", "operations_waiting", "connections_lost_total"]) {
    expect(now.get(`patchbay_database_${name}`)).toBeLessThanOrEqual(6);
  }
  expect(now.get("patchbay_unread_answers_cut_total")).toBe(0);
});

test("every metric of the service is in docs/observability.md, and every one there is a metric", async () => {
  const page = readFileSync("docs/observability.md", "utf8");
  const described = [...page.matchAll(/^\| `(patchbay_\w+)` /gm)].map(([, name]) => name);
  const declared = [...(await scrape()).matchAll(/^# TYPE (patchbay_\w+) /gm)].map(([, name]) => name);
  // Only the process that leads others has it.
  expect(new Set(described)).toStrictEqual(new Set([...declared, "patchbay_workers"]));
});

/** What the files for operators ask Prometheus for. */
function expressions(): readonly (readonly [where: string, expr: string])[] {
  const alerts = parse(readFileSync("deploy/prometheus-alerts.yaml", "utf8")) as {
    groups: { rules: { alert: string; expr: string }[] }[];
  };
  const dashboard = JSON.parse(readFileSync("deploy/grafana-dashboard.json", "utf8")) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  return [
    ...alerts.groups.flatMap(({ rules }) => rules.map(({ alert, expr }) => [alert, expr] as const)),
    ...dashboard.panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => [title, expr] as const),
    ),
  ];
}

test("alerts and dashboard ask for metrics, labels and values only that there are", async () => {
  const page = readFileSync("docs/observability.md", "utf8");
  const text = await scrape();
  const kinds = new Map(
    [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = "", kind]) => [name, kind]),
  );
  // Only the process that leads others has it.
  kinds.set("patchbay_workers", "gauge");
  const reasons = new Set<string>(Object.keys(Reason));
  const asked = expressions();
  expect(asked.length).toBeGreaterThan(40);
  for (const [where, expr] of asked) {
    const names = [...expr.matchAll(/\b(?:patchbay|process|nodejs)_\w+/g)].map(([name]) => name);
    expect([where, names.length > 0 || expr.startsWith("up{")]).toStrictEqual([where, true]);
    for (const name of names) {
      const base = name.replace(/_(bucket|count|sum)$/, "");
      const kind = kinds.get(name) ?? (kinds.get(base) === "histogram" ? "histogram" : undefined);
      expect([where, name, kind]).not.toContain(undefined);
      const isRated = new RegExp(`(rate|increase)\\(${name}\\b`).test(expr);
      // A counter as it is says nothing, and the rate of a gauge nothing either.
      expect([where, name, isRated]).toStrictEqual([where, name, kind !== "gauge"]);
    }
    const row = names.map((name) =>
      page.split("\n").find((line) => name.startsWith(/^\| `(\w+)`/.exec(line)?.[1] ?? "-")),
    );
    const labels = [...expr.matchAll(/(\w+)(?:=|!=|=~)"([^"]*)"/g)];
    for (const [, label = "", value = ""] of labels) {
      if (["instance", "job"].includes(label)) continue;
      const isKnown =
        label === "reason" ? reasons.has(value) : row.some((line) => line?.includes(`\`${value}\``));
      expect([where, label, value, isKnown]).toStrictEqual([where, label, value, true]);
    }
    for (const [, by = ""] of expr.matchAll(/by \(([^)]*)\)/g)) {
      for (const label of by.split(", ").filter((one) => !["le", "instance"].includes(one))) {
        expect([where, label, row.some((line) => line?.includes(`\`${label}\``))]).toStrictEqual([
          where,
          label,
          true,
        ]);
      }
    }
    expect([where, expr.split("(").length]).toStrictEqual([where, expr.split(")").length]);
  }
});

test("what an alert waits for is shown from the start: in a count that begins with 1 nobody sees an increase", () => {
  const counts = expressions().flatMap(([where, expr]) =>
    [...expr.matchAll(/(?:rate|increase)\((patchbay_\w+)\{(\w+="\w+")\}/g)].map(
      ([, name = "", label = ""]) => ({
        ...{ where, name, label },
      }),
    ),
  );
  expect(counts.length).toBeGreaterThan(5);
  for (const { where, name, label } of counts) {
    const shown = atTheStart.some((one) => one.startsWith(`${name}{`) && one.includes(label));
    expect([where, name, label, shown]).toStrictEqual([where, name, label, true]);
  }
});

test("every alert says what it is and what to do, and the dashboard's panels do not lie on each other", () => {
  const { groups } = parse(readFileSync("deploy/prometheus-alerts.yaml", "utf8")) as {
    groups: { rules: { alert: string; labels: object; annotations: Record<string, string> }[] }[];
  };
  for (const { alert, labels, annotations } of groups.flatMap(({ rules }) => rules)) {
    expect([alert, labels, annotations]).toStrictEqual([
      expect.stringMatching(/^Patchbay\w+$/),
      { severity: expect.stringMatching(/^(page|ticket)$/) as string },
      { summary: expect.stringMatching(/\.$/) as string, action: expect.stringMatching(/\.$/) as string },
    ]);
  }
  const { panels } = JSON.parse(readFileSync("deploy/grafana-dashboard.json", "utf8")) as {
    panels: { id: number; gridPos: Record<"x" | "y" | "w" | "h", number> }[];
  };
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
});
