import { expect } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { createTestDatabase, type TestDatabase } from "../../support/postgres.ts";
import { startService, type TestService, type TestServiceOptions } from "../../support/service.ts";
import { masked } from "./mask.ts";
import type { Readable } from "./readable.ts";

/** One of two services that are the same but for the way that unary calls take. */
export interface Side {
  readonly service: TestService;
  readonly port: number;
  readonly keys: Keys;
}

/** Secrets of the side's own organisation: those of both sides are equal in kind and differ in their random part. */
export interface Keys {
  readonly admin: string;
  readonly revoked: string;
  /** Holds a scope that no method asks for. */
  readonly scopeless: string;
}

/** What is done on each side; it is given an id for its requests, which is the same on both. */
export type Play = (side: Side, requestId: string) => Promise<Readable>;

/** The pair of services, on one database and under one root key. */
export interface TwoWays extends AsyncDisposable {
  readonly sides: readonly [connect: Side, lane: Side];
  /** Fails with the difference unless both sides show the same answers and write the same log. */
  same(name: string, play: Play, expected?: { readonly lines?: number }): Promise<void>;
  /** Fails unless both sides counted the same and recorded the same. Ends both services. */
  sameLeftBehind(): Promise<void>;
}

/** Starts both; the options of each side differ only in a test of this harness. */
export async function startTwoWays(
  options: TestServiceOptions = {},
  ofLane: TestServiceOptions = {},
): Promise<TwoWays> {
  const postgres = options.postgres ?? (await createTestDatabase());
  const shared: TestServiceOptions = {
    fourEyesDeletion: "always",
    ...options,
    postgres,
    rootKey: options.rootKey ?? newRootKeyText(),
  };
  const services = [
    await startService({ ...shared, unaryLane: "off" }),
    await startService({ ...shared, unaryLane: "on", ...ofLane }),
  ] as const;
  // The first organisations were founded by the real clock, and lists are in the order of their making.
  const startedAt = Date.now();
  for (const { clock } of services) clock.advance(startedAt - clock.now().getTime());
  const [connect, lane] = [await sideOf(services[0]), await sideOf(services[1])];
  const metricsPorts = await Promise.all(
    [connect, lane].map(({ service }) => service.app.listenForMetrics("127.0.0.1", 0)),
  );

  const stop = () => Promise.all([connect, lane].map(({ service }) => service[Symbol.asyncDispose]()));
  return {
    sides: [connect, lane],
    async same(name, play, { lines = 1 } = {}) {
      // Ids are in the order of their making only from one millisecond to the next. Not by much more: a key that is
      // asked for again makes it chance how far a call gets whose caller hangs up.
      for (const { service } of [connect, lane]) service.clock.advance(10);
      const requestId = name.replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 64);
      const [without, through] = await Promise.all(
        [connect, lane].map((side) => observe(side, requestId, play, lines)),
      );
      expect(through, `${name}: "-" is Connect, "+" is the lane`).toStrictEqual(without);
    },
    async sameLeftBehind() {
      const counted = await Promise.all(metricsPorts.map(({ port }) => readSeries(port)));
      expect(counted[1], 'metrics: "-" is Connect, "+" is the lane').toStrictEqual(counted[0]);
      // What is recorded in the background is written at the latest now.
      await Promise.all([connect, lane].map(({ service }) => service.app.close(1_000)));
      const recorded = await Promise.all([connect, lane].map(({ service }) => readAudit(postgres, service)));
      expect(recorded[1], 'audit: "-" is Connect, "+" is the lane').toStrictEqual(recorded[0]);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await postgres[Symbol.asyncDispose]();
    },
  };
}

/** The service with keys of its first organisation. */
async function sideOf(service: TestService): Promise<Side> {
  const { client, secret } = service.org;
  const create = async (name: string) => {
    service.clock.advance(1_000);
    return client.apiKeys.createApiKey({ name, scopes: ["other:view"] });
  };
  const [revoked, scopeless] = [await create("revoked"), await create("scopeless")];
  await client.apiKeys.revokeApiKey({ id: revoked.apiKey!.id });
  const keys = { admin: secret, revoked: revoked.secret, scopeless: scopeless.secret };
  return { service, port: Number(new URL(service.url).port), keys };
}

async function observe(side: Side, requestId: string, play: Play, lines: number): Promise<unknown> {
  const logged = side.service.watchLog();
  const seen = await play(side, requestId);
  const written = () => linesOf(logged());
  const requests = () => written().filter(({ msg }) => String(msg).startsWith("request"));
  // The line comes once the answer has left, which a client sees first.
  await expect.poll(() => requests().length, { interval: 2, timeout: 20_000 }).toBeGreaterThanOrEqual(lines);
  return masked({ seen, log: written() });
}

/** What is logged of calls, without the health checks that the clients of this harness make. */
function linesOf(logged: string): Record<string, unknown>[] {
  const lines = logged.split("\n").filter((line) => line !== "" && !line.includes('"requestId":"probe"'));
  return lines.map((line) => {
    const { time: _time, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
    // The stack of a failure names the files that it came through.
    return err === undefined ? rest : { ...rest, err: { ...(err as object), stack: "" } };
  });
}

/** Series and how often each was counted; not how long anything took. */
async function readSeries(port: number): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const lines = (await response.text()).split("\n");
  // Whichever starts first makes the keys of the database, and a key is unwrapped again once its service has begun to
  // listen, or listens again: both are chance.
  const isOfRootKey = (line: string) => line.startsWith("patchbay_root_key_seconds_count");
  return lines
    .filter((line) => /^patchbay_\w+?(?:_total|_count)[ {]/.test(line) && !isOfRootKey(line))
    .toSorted();
}

async function readAudit(postgres: TestDatabase, { org }: TestService): Promise<unknown> {
  const columns = "action, target, api_key_id, user_id, request_id, details";
  // What the service saw by itself is recorded in the background, before or behind what follows: it comes last.
  const order = "api_key_id is null, case when api_key_id is null then action end, seq";
  const rows = await postgres.asOwner(
    `select ${columns} from audit_events where org_id = $1 order by ${order}`,
    [org.orgId],
  );
  return masked(rows);
}
