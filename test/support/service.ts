import { Writable } from "node:stream";
import { createApp, type App } from "#src/app.ts";
import { foundOrganization } from "#src/cli/found-organization.ts";
import { createLog } from "#src/cli/log.ts";
import { readConfig, type Config, type Flags } from "#src/config/config.ts";
import { createPatchbayClient, type PatchbayClient } from "#src/client/node.ts";
import { localRootKey, newRootKeyText, type RootKey } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import type { Tls } from "#src/net/servers.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Tracing } from "#src/platform/tracing.ts";
import { createTestDatabase, type TestDatabase } from "./postgres.ts";

/** The real service on a real database, with a clock that the test may turn. */
export interface TestService extends AsyncDisposable {
  readonly url: string;
  readonly app: App;
  readonly postgres: TestDatabase;
  readonly clock: Clock;
  /** The organisation that the service starts with. */
  readonly org: Tenant;
  newOrganization(name: string): Promise<Tenant>;
  /** What somebody who presents this secret can do. */
  as(secret: string): Presenter;
  /** Everything that the service logged so far. */
  logged(): string;
  /** Answers, whenever it is asked, what the service logged since. */
  watchLog(): () => string;
}

/** The service's clock. It stands still at the real time of the start until it is turned. */
export interface Clock {
  now(): Date;
  advance(milliseconds: number): void;
}

/** An organisation, by its admin key. */
export interface Tenant extends Presenter {
  readonly orgId: string;
  readonly apiKeyId: string;
}

/** A caller, over gRPC and over REST. */
export interface Presenter {
  readonly secret: string;
  readonly client: PatchbayClient;
  rest(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<RestReply>;
}

/** What a REST path answered. */
export interface RestReply {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly body: any;
}

/** What a test may choose; replicas share `postgres` and `rootKey`. */
export interface TestServiceOptions {
  readonly environment?: Environment;
  readonly fourEyesDeletion?: "live" | "always" | "never";
  readonly callerServiceSlug?: string;
  readonly legacyPrefixes?: readonly string[];
  readonly outboundAllow?: string;
  readonly corsOrigins?: readonly string[];
  readonly publicUrl?: string;
  readonly oauthReturnOrigins?: readonly string[];
  readonly trustedProxyHops?: number;
  /** So high, unless the test chooses, that none is reached. */
  readonly limits?: {
    readonly callsPerMinute?: number;
    readonly maxCallsPerMinute?: number;
    readonly failuresPerMinute?: number;
  };
  readonly rateLimitUrl?: string;
  readonly memoryBudgetMib?: number;
  readonly unaryLane?: "on" | "off";
  readonly auditAnchors?: string;
  readonly auditRetentionMonths?: number;
  /** For clients that the test makes itself: those of a tenant do not trust any certificate of a test. */
  readonly tls?: Tls;
  readonly postgres?: TestDatabase;
  readonly rootKey?: string | RootKey;
  readonly secondRootKey?: string;
  readonly tracing?: Tracing;
}

/** Starts the service on a port of its own. Loopback may be called, since the outside world is played there. */
export async function startService(options: TestServiceOptions = {}): Promise<TestService> {
  const { environment = "sandbox", outboundAllow = "127.0.0.1", corsOrigins = [] } = options;
  const postgres = options.postgres ?? (await createTestDatabase());
  const lines: string[] = [];
  const log = createLog("debug", linesTo(lines));
  const { rootKey: given = newRootKeyText() } = options;
  const rootKey = typeof given === "string" ? localRootKey(given) : given;
  const secondRootKey = options.secondRootKey === undefined ? undefined : localRootKey(options.secondRootKey);
  const database = createDatabase({ url: postgres.url, log, poolSize: 6, tracing: options.tracing });
  const clock = createClock();
  const flags: Flags = {
    environment,
    outboundAllow: outboundAllow || "none",
    corsOrigins: corsOrigins.join(),
    trustedProxyHops: String(options.trustedProxyHops ?? 0),
    ...(options.publicUrl && { publicUrl: options.publicUrl }),
    ...(options.oauthReturnOrigins && { oauthReturnOrigins: options.oauthReturnOrigins.join() }),
    ...(options.fourEyesDeletion && { fourEyesDeletion: options.fourEyesDeletion }),
    ...(options.callerServiceSlug && { callerServiceSlug: options.callerServiceSlug }),
    ...(options.legacyPrefixes && { legacyPrefixes: options.legacyPrefixes.join() }),
    ...(options.rateLimitUrl && { rateLimitUrl: options.rateLimitUrl }),
    ...(options.memoryBudgetMib && { memoryBudgetMib: String(options.memoryBudgetMib) }),
    ...(options.unaryLane && { unaryLane: options.unaryLane }),
    ...(options.auditAnchors && { auditAnchors: options.auditAnchors }),
    ...(options.auditRetentionMonths && { auditRetentionMonths: String(options.auditRetentionMonths) }),
  };
  const most = 1_000_000;
  const { callsPerMinute = most, maxCallsPerMinute = most, failuresPerMinute = most } = options.limits ?? {};
  const config: Config = {
    ...readConfig(flags, {}),
    rateLimitPerMinute: callsPerMinute,
    maxRateLimitPerMinute: maxCallsPerMinute,
    failedAuthenticationsPerMinute: failuresPerMinute,
  };
  const app = await createApp(config, {
    database,
    rootKey,
    secondRootKey,
    tls: options.tls,
    log,
    tracing: options.tracing,
    now: clock.now,
    monotonicNow: () => clock.now().getTime(),
  });
  const { port } = await app.listen("127.0.0.1", 0);
  app.beReady();
  const url = `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`;

  async function newOrganization(name: string): Promise<Tenant> {
    const { admin, secret } = await foundOrganization(
      { database, rootKey, secondRootKey },
      environment,
      name,
    );
    return { orgId: admin.orgId, apiKeyId: admin.via.id, ...presenter(url, secret) };
  }

  return {
    url,
    app,
    postgres,
    clock,
    org: await newOrganization("acme"),
    newOrganization,
    as: (secret) => presenter(url, secret),
    logged: () => lines.join(""),
    watchLog() {
      const before = lines.length;
      return () => lines.slice(before).join("");
    },
    async [Symbol.asyncDispose]() {
      await app.close(1_000);
      await database.close();
      if (options.postgres === undefined) await postgres[Symbol.asyncDispose]();
    },
  };
}

/** Somebody who presents a secret to the service at the URL. */
export function presenter(url: string, secret: string): Presenter {
  return {
    secret,
    client: createPatchbayClient({ baseUrl: url, apiKey: secret }),
    async rest(method, path, body, headers = {}) {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${secret}`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return {
        status: response.status,
        headers: response.headers,
        body: text === "" ? undefined : JSON.parse(text),
      };
    },
  };
}

function createClock(): Clock {
  let at = Date.now();
  return {
    now: () => new Date(at),
    advance(milliseconds) {
      at += milliseconds;
    },
  };
}

function linesTo(lines: string[]): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
}
