import { randomBytes } from "node:crypto";
import { mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { inspect } from "node:util";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createKey, createOrganization } from "#src/cli/administer.ts";
import { writeAdminKey } from "#src/cli/admin-key.ts";
import { openPostgres } from "#src/cli/postgres.ts";
import { openRootKey } from "#src/cli/root-key.ts";
import { readTls } from "#src/cli/tls.ts";
import { InvalidSetting } from "#src/config/setting.ts";
import { partOfWorker, readConfig, type Flags } from "#src/config/config.ts";
import { settingNamed, settings, type SettingName } from "#src/config/settings.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { withSettings } from "../../scripts/generate-settings.ts";
import { startService } from "../support/service.ts";
import { temporaryFolder } from "./patchbay.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => void (folder = await temporaryFolder()));
afterAll(() => folder[Symbol.asyncDispose]());

const rootKey = Buffer.alloc(32, 1).toString("base64");
const database = "postgres://me:pw@127.0.0.1:1/patchbay";

/** What a wrong setting is answered with; undefined if it is taken. */
function refusal(env: Record<string, string>, flags: Flags = {}): string | undefined {
  try {
    readConfig(flags, env);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidSetting);
    return (error as Error).message;
  }
}

describe("a setting that cannot be used is named both ways, with what would do", () => {
  test.each<[Record<string, string>, RegExp]>([
    [{ PATCHBAY_PORT: "x" }, /^--port \(PATCHBAY_PORT\): give a whole number from 0 to 65535, not "x"$/],
    [{ PATCHBAY_PORT: "65536" }, /from 0 to 65535, not "65536"$/],
    [{ PATCHBAY_PORT: "-1" }, /not "-1"$/],
    [{ PATCHBAY_PORT: "7420.5" }, /not "7420.5"$/],
    [
      { PATCHBAY_RATE_LIMIT_PER_MINUTE: "0" },
      /^--rate-limit-per-minute \(PATCHBAY_RATE_LIMIT_PER_MINUTE\): give a whole number from 1 to 100000, not "0"$/,
    ],
    [
      { PATCHBAY_MAX_RATE_LIMIT_PER_MINUTE: "0" },
      /^--max-rate-limit-per-minute \(PATCHBAY_MAX_RATE_LIMIT_PER_MINUTE\): give a whole number from 1 to 100000, not "0"$/,
    ],
    [
      { PATCHBAY_MAX_RATE_LIMIT_PER_MINUTE: "99", PATCHBAY_RATE_LIMIT_PER_MINUTE: "100" },
      /^--max-rate-limit-per-minute .*: give at least 100, which is --rate-limit-per-minute \(PATCHBAY_RATE_LIMIT_PER_MINUTE\), not 99$/,
    ],
    [
      { PATCHBAY_WORKERS: "0" },
      /^--workers \(PATCHBAY_WORKERS\): give a whole number from 1 to 16, not "0"$/,
    ],
    [
      { PATCHBAY_WORKERS: "4", PATCHBAY_DATABASE_POOL_SIZE: "7" },
      /^--database-pool-size .*: give at least 8 for 4 workers, which divide it, not 7$/,
    ],
    [
      { PATCHBAY_WORKERS: "3", PATCHBAY_MEMORY_BUDGET_MIB: "191" },
      /^--memory-budget-mib .*: give at least 192 for 3 workers, which divide it, not 191$/,
    ],
    [
      { PATCHBAY_TRUSTED_PROXY_HOPS: "11" },
      /^--trusted-proxy-hops \(PATCHBAY_TRUSTED_PROXY_HOPS\): give a whole number from 0 to 10, not "11"$/,
    ],
    [{ PATCHBAY_TRUSTED_PROXY_HOPS: "-1" }, /not "-1"$/],
    [{ PATCHBAY_FAILED_AUTHENTICATIONS_PER_MINUTE: "100001" }, /from 1 to 100000, not "100001"$/],
    [
      { PATCHBAY_DATABASE_POOL_SIZE: "1" },
      /^--database-pool-size \(PATCHBAY_DATABASE_POOL_SIZE\): give a whole number from 2 to 50, not "1"$/,
    ],
    [{ PATCHBAY_DRAIN_SECONDS: "10s" }, /^--drain-seconds \(PATCHBAY_DRAIN_SECONDS\): give a whole number/],
    [
      { PATCHBAY_ENVIRONMENT: "prod" },
      /^--environment \(PATCHBAY_ENVIRONMENT\): give one of sandbox, live, not "prod"$/,
    ],
    [
      { PATCHBAY_FOUR_EYES_DELETION: "true" },
      /^--four-eyes-deletion \(PATCHBAY_FOUR_EYES_DELETION\): give one of live, always, never, not "true"$/,
    ],
    [
      { PATCHBAY_CALLER_SERVICE_SLUG: "Orchestration" },
      /^--caller-service-slug \(PATCHBAY_CALLER_SERVICE_SLUG\): give lower-case .*, not "Orchestration"$/,
    ],
    [{ PATCHBAY_CALLER_SERVICE_SLUG: "a\r\nx-injected: 1" }, /at most 63, not "a\\r\\nx-injected: 1"$/],
    [{ PATCHBAY_CALLER_SERVICE_SLUG: "a".repeat(64) }, /at most 63, not "a{64}"$/],
    [
      { PATCHBAY_LEGACY_PREFIXES: "qedi_,bs" },
      /^--legacy-prefixes \(PATCHBAY_LEGACY_PREFIXES\): give prefixes such as .* at the end, .*, not "bs"$/,
    ],
    [{ PATCHBAY_LEGACY_PREFIXES: "qedi_,,bs_" }, /not ""$/],
    [{ PATCHBAY_LEGACY_PREFIXES: "_" }, /not "_"$/],
    [{ PATCHBAY_LEGACY_PREFIXES: `${"a".repeat(32)}_` }, /of 2 to 32 .*, not "a{32}_"$/],
    [{ PATCHBAY_LEGACY_PREFIXES: "ä_" }, /not "ä_"$/],
    [{ PATCHBAY_LEGACY_PREFIXES: "a b_" }, /not "a b_"$/],
    // A key qe_sk_live_… would pass for one that names no environment.
    [{ PATCHBAY_LEGACY_PREFIXES: "qe_" }, /none that qe_sk_ keys have, not "qe_"$/],
    [{ PATCHBAY_LEGACY_PREFIXES: "qe_sk_" }, /not "qe_sk_"$/],
    [{ PATCHBAY_LEGACY_PREFIXES: "qe_sk_live_" }, /not "qe_sk_live_"$/],
    [{ PATCHBAY_LOG_LEVEL: "verbose" }, /^--log-level \(PATCHBAY_LOG_LEVEL\): give one of debug, info,/],
    [
      { PATCHBAY_OUTBOUND_ALLOW: "http://bank" },
      /^--outbound-allow \(PATCHBAY_OUTBOUND_ALLOW\): "http:\/\/bank" is not/,
    ],
    [
      { PATCHBAY_CORS_ORIGINS: "https://app.example/" },
      /^--cors-origins \(PATCHBAY_CORS_ORIGINS\): give origins such as/,
    ],
    [{ PATCHBAY_CORS_ORIGINS: "*" }, /not "\*"$/],
    [
      { PATCHBAY_TLS_CERT: "c.pem" },
      /^--tls-key \(PATCHBAY_TLS_KEY\): is missing beside --tls-cert \(PATCHBAY_TLS_CERT\)/,
    ],
    [
      { PATCHBAY_TLS_KEY: "k.pem" },
      /^--tls-cert \(PATCHBAY_TLS_CERT\): is missing beside --tls-key \(PATCHBAY_TLS_KEY\)/,
    ],
    [
      { PATCHBAY_ROOT_KEY: rootKey, PATCHBAY_ROOT_KEY_FILE: "k" },
      /^--root-key-file \(PATCHBAY_ROOT_KEY_FILE\): give it or PATCHBAY_ROOT_KEY, not both$/,
    ],
    [
      { PATCHBAY_ROOT_KEY_FILE: "k", PATCHBAY_ROOT_KEY_URL: "awskms:///alias/k" },
      /^--root-key-url \(PATCHBAY_ROOT_KEY_URL\): give it or --root-key-file \(PATCHBAY_ROOT_KEY_FILE\), not both$/,
    ],
    [
      { PATCHBAY_ROOT_KEY_URL: "vault+http://vault.internal/transit/k" },
      /^--root-key-url \(PATCHBAY_ROOT_KEY_URL\): give an https address: without TLS, only a service on this machine/,
    ],
    [{ DATABASE_URL: "mysql://host/db" }, /^DATABASE_URL: give a URL such as postgres:\/\//],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4318" }, /^--otlp-endpoint .*: give a URL such as http:/],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://me:canary@collector" }, /^--otlp-endpoint (?!.*canary)/],
    [{ PATCHBAY_TRACE_PERCENT: "0" }, /^--trace-percent .*: give a whole number from 1 to 100/],
    [{ PATCHBAY_RATE_LIMIT_URL: "host:6379" }, /^PATCHBAY_RATE_LIMIT_URL: give a URL such as redis:\/\//],
    [
      { PATCHBAY_METRICS_PORT: "65536" },
      /^--metrics-port \(PATCHBAY_METRICS_PORT\): give a whole number from 0 to 65535, not "65536"$/,
    ],
  ])("%j", (env, message) => {
    expect(refusal(env)).toMatch(message);
    expect(refusal(env)).not.toContain("\n");
  });

  test("and a database URL is not repeated, since it may hold a password", () => {
    for (const url of ["http://me:canary@host/db", "postgres://me:can:ary@[host/db"]) {
      expect(refusal({ DATABASE_URL: url })).toMatch(/^DATABASE_URL: (?!.*can).*$/);
    }
  });
});

describe("the URL of shared rate limits", () => {
  test.each([
    "redis://host",
    "redis://host:6379/",
    "redis://[::1]:6379/2",
    "rediss://me:p%40ss%2fword@host.example:6380/0",
    "redis://:secret@host",
  ])("%s is taken", (url) => {
    expect(readConfig({}, { PATCHBAY_RATE_LIMIT_URL: url }).rateLimitUrl?.reveal().toString()).toBe(url);
  });

  test.each([
    "canary",
    "http://me:canary@host",
    "redis:///0?canary",
    "redis://me:canary#@host",
    "redis://me:canary?@host",
    "redis://me:canary/@host",
    "redis://me:%canary@host",
    "redis://me:100%canary@host",
    "redis://host/canary",
    "redis://host/0?password=canary",
  ])("%s is refused, and not repeated, since it may hold a password", (url) => {
    expect(refusal({ PATCHBAY_RATE_LIMIT_URL: url })).toMatch(/^PATCHBAY_RATE_LIMIT_URL: (?!.*can)/);
  });
});

describe("where a setting comes from", () => {
  const samples: Partial<Record<SettingName, [flag: string, variable: string]>> = {
    host: ["::1", "10.0.0.1"],
    environment: ["live", "sandbox"],
    logLevel: ["debug", "error"],
    callerServiceSlug: ["ai-automation", "a"],
    outboundAllow: ["10.0.0.0/8", "bank.internal"],
  };

  test.each(Object.entries(samples))(
    "%s: the flag, else the variable, else the default",
    (name, [flag, variable]) => {
      const setting = name as "host";
      const { env, fallback } = settingNamed(setting);
      expect(readConfig({ [setting]: flag }, { [env]: variable })[setting]).toBe(flag);
      expect(readConfig({}, { [env]: variable })[setting]).toBe(variable);
      if (fallback !== undefined) expect(readConfig({}, {})[setting]).toBe(fallback);
      // As from `--host "$UNSET"`: it must not come to mean all addresses.
      expect(readConfig({ [setting]: " " }, { [env]: "" })[setting]).toBe(readConfig({}, {})[setting]);
    },
  );

  test("loopback may be called as long as only this machine can call the service, unless told otherwise", () => {
    const allowed = (flags: Flags) => readConfig(flags, {}).outboundAllow;
    expect(allowed({})).toBe("127.0.0.0/8, ::1/128");
    expect(allowed({ host: "localhost" })).toBe("127.0.0.0/8, ::1/128");
    expect(allowed({ host: "0.0.0.0" })).toBe("");
    expect(allowed({ host: "::" })).toBe("");
    // Whoever the proxy lets in can call it as well.
    expect(allowed({ trustedProxyHops: "1" })).toBe("");
    expect(allowed({ outboundAllow: "none" })).toBe("");
  });

  test("legacy prefixes are a list, and those of the requirement unless others are given", () => {
    expect(readConfig({}, {}).legacyPrefixes).toStrictEqual(["qedi_", "bs_", "aml_"]);
    const longest = `${"a".repeat(31)}_`;
    expect(readConfig({ legacyPrefixes: `old-, a_,${longest}` }, {}).legacyPrefixes).toStrictEqual(["old-", "a_", longest]); // prettier-ignore
  });

  test("imports can be limited to the service's own prefix", () => {
    expect(readConfig({ legacyPrefixes: "none" }, {}).legacyPrefixes).toStrictEqual([]);
  });

  test("each flag is its setting's name, which is how the command line hands it over", () => {
    for (const [name, spec] of Object.entries(settings)) {
      if ("flag" in spec)
        expect(spec.flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())).toBe(name);
    }
  });
});

describe("secrets", () => {
  test("have no flag, which everybody on the machine could read", () => {
    for (const spec of Object.values(settings)) expect("flag" in spec).toBe(!("secret" in spec));
    expect(settings.rootKey).toHaveProperty("secret", true);
    expect(settings.databaseUrl).toHaveProperty("secret", true);
    expect(settings.rateLimitUrl).toHaveProperty("secret", true);
  });

  test("are not in the settings when these are printed or logged", () => {
    const config = readConfig(
      {},
      {
        DATABASE_URL: "postgres://me:canary@host/db",
        PATCHBAY_ROOT_KEY: "canary",
        PATCHBAY_RATE_LIMIT_URL: "redis://me:canary@host",
        VAULT_TOKEN: "canary",
      },
    );
    expect(inspect(config, { depth: 9, showHidden: true }) + JSON.stringify(config)).not.toContain("canary");
    expect(config.databaseUrl?.reveal().toString()).toContain("canary");
  });
});

describe("the root key", () => {
  /** Opens the root key of a data folder. */
  async function open(dataDir: string, env: Record<string, string> = {}) {
    return openRootKey(readConfig({ dataDir: join(folder.path, dataDir) }, env), pino({ level: "silent" }));
  }

  test("is made beside the data folder, for its user only, and found there again", async () => {
    const made = await open("deep/down/data");
    expect(made.created).toBe(true);
    const file = join(folder.path, "deep/down/data.root-key");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(dirname(file))).toStrictEqual(["data.root-key"]);
    const found = await open("deep/down/data");
    expect([found.created, found.rootKey.id]).toStrictEqual([false, made.rootKey.id]);
    expect(localRootKey(await readFile(file, "utf8")).id).toBe(made.rootKey.id);
  });

  test("is the one of the setting or of the file that is named", async () => {
    const { id } = localRootKey(rootKey);
    await writeFile(join(folder.path, "named"), `${rootKey}\n`);
    expect((await open("a", { PATCHBAY_ROOT_KEY: rootKey })).rootKey.id).toBe(id);
    expect((await open("a", { PATCHBAY_ROOT_KEY_FILE: join(folder.path, "named") })).rootKey.id).toBe(id);
    expect(await readdir(folder.path)).not.toContain("a.root-key");
  });

  test("is not made anew for data that was sealed under another", async () => {
    await mkdir(join(folder.path, "copied", "postgres"), { recursive: true });
    await expect(open("copied")).rejects.toThrow(
      /^--root-key-file \(PATCHBAY_ROOT_KEY_FILE\): the root key .*copied\.root-key is missing, .*: put it back, or name/,
    );
    expect(await readdir(folder.path)).not.toContain("copied.root-key");
  });

  test("must be given with an external database, whatever lies around", async () => {
    await writeFile(join(folder.path, "lying.root-key"), rootKey);
    await expect(open("lying", { DATABASE_URL: database })).rejects.toThrow(
      /^--root-key-file \(PATCHBAY_ROOT_KEY_FILE\): is needed .*PATCHBAY_ROOT_KEY or --root-key-url .*; for a new database, make .* openssl rand -base64 32$/,
    );
  });

  test.each([
    [
      "too short",
      "PATCHBAY_ROOT_KEY",
      "abc",
      /^PATCHBAY_ROOT_KEY: the root key must be base64 of exactly 32 bytes/,
    ],
    [
      "not there",
      "PATCHBAY_ROOT_KEY_FILE",
      "/nowhere",
      /^--root-key-file .*\/nowhere cannot be read \(ENOENT\)/,
    ],
    [
      "no key",
      "PATCHBAY_ROOT_KEY_FILE",
      "/etc/passwd",
      /^--root-key-file .*\/etc\/passwd cannot be used: the root key/,
    ],
  ])("is refused when it is %s", async (_, variable, value, message) => {
    await expect(open("b", { [variable]: value })).rejects.toThrow(message);
  });

  test("is refused with the folder's setting when it cannot be made", async () => {
    await writeFile(join(folder.path, "file"), "");
    await expect(open("file/data")).rejects.toThrow(
      /cannot be made \(E\w+\): .* with --data-dir \(PATCHBAY_DATA_DIR\)$/,
    );
  });
});

describe("the admin key", () => {
  test("is written for its user only, and never over another", async () => {
    const written = async (environment: string) =>
      writeAdminKey(readConfig({ dataDir: join(folder.path, "admin"), environment }, {}), environment);
    const files = [await written("sandbox"), await written("live"), await written("live")];
    expect(files.map((file) => file.slice(folder.path.length))).toStrictEqual([
      "/admin/admin-key",
      "/admin/admin-key-live-2",
      "/admin/admin-key-live-3",
    ]);
    expect(await readFile(files[0]!, "utf8")).toBe("sandbox\n");
    for (const file of files) expect((await stat(file)).mode & 0o777).toBe(0o600);
  });
});

describe("TLS files", () => {
  const tls = (cert: string, key: string) => readTls(readConfig({ tlsCert: cert, tlsKey: key }, {}));
  const cert = "test/net/test-only.cert.pem";
  const key = "test/net/test-only.key.pem";

  test("that belong together are taken", async () => {
    expect(await tls(cert, key)).toStrictEqual({ cert: await readFile(cert), key: await readFile(key) });
    expect(await readTls(readConfig({}, {}))).toBeUndefined();
  });

  test.each([
    ["/nowhere", key, /^--tls-cert \(PATCHBAY_TLS_CERT\): \/nowhere cannot be read \(ENOENT\)/],
    [cert, "/nowhere", /^--tls-key \(PATCHBAY_TLS_KEY\): \/nowhere cannot be read \(ENOENT\)/],
    [key, cert, /^--tls-cert \(PATCHBAY_TLS_CERT\): .* do not serve together .*both in PEM$/],
    ["package.json", key, /do not serve together/],
  ])("%s and %s are refused", async (one, other, message) => {
    await expect(tls(one, other)).rejects.toThrow(message);
  });
});

describe("an external database", () => {
  const open = (url: string) =>
    openPostgres(readConfig({}, { DATABASE_URL: url }), pino({ level: "silent" }));

  test("that refuses us stops the start, with what to look at and without the password", async () => {
    await expect(open(database)).rejects.toThrow(
      /^DATABASE_URL: cannot connect: nothing listens at 127\.0\.0\.1:1 \(ECONNREFUSED\): (?!.*pw).*$/,
    );
  });

  test("that never answers stops the start after 5 seconds", async () => {
    const silent = createServer();
    await new Promise<void>((done) => silent.listen(0, "127.0.0.1", done));
    const { port } = silent.address() as AddressInfo;
    await expect(open(`postgres://127.0.0.1:${port}/x`)).rejects.toThrow(
      /cannot connect: no answer from 127.* within 5 seconds/,
    );
    silent.close();
  });
});

describe("keys create", () => {
  /** The command, on the database of a service with these organisations. */
  async function create(names: string[], wanted: Partial<Parameters<typeof createKey>[1]>) {
    const key = randomBytes(32).toString("base64");
    await using service = await startService({ rootKey: key });
    for (const name of names) await service.newOrganization(name);
    const config = readConfig({}, { DATABASE_URL: service.postgres.url, PATCHBAY_ROOT_KEY: key });
    await createKey(config, { orgId: undefined, name: "ops", scopes: ["read"], ...wanted });
  }

  test.each([
    [["globex"], {}, /^--org: needed; give one of\n {2}org_\S+ {2}acme\n {2}org_\S+ {2}globex$/],
    [[], { orgId: "org_x" }, /^--org: there is no org_x; give one of\n {2}org_\S+ {2}acme$/],
    [[], { scopes: ["read", "b b"] }, /^--scopes: "b b" is not a scope; write resource:verb/],
    [[], { name: " " }, /^--name: give 1 to 200 characters$/],
    [
      [],
      { name: "ops\u202e" },
      /^--name: must be one line .* without control characters and marks of direction$/,
    ],
  ])("with organisations acme and %j and %j says what it needs", async (names, wanted, message) => {
    await expect(create(names, wanted)).rejects.toThrow(message);
  });
});

test.each([
  ["sandbox", {}, 120, 6_000],
  ["live", {}, 600, 6_000],
  ["live", { maxRateLimitPerMinute: "100" }, 600, 100],
  ["live", { rateLimitPerMinute: "9000" }, 9_000, 9_000],
  ["sandbox", { rateLimitPerMinute: "50", maxRateLimitPerMinute: "50" }, 50, 50],
  ["sandbox", { maxRateLimitPerMinute: "100000" }, 120, 100_000],
] as const)(
  "a key of a %s deployment with %j may make %i calls a minute unless that is more than it may be given, %i",
  (environment, flags, usual, most) => {
    const config = readConfig({ environment, ...flags }, {});
    expect(config).toMatchObject({ rateLimitPerMinute: usual, maxRateLimitPerMinute: most });
  },
);

test("org create makes no organisation with a name that shows something else than it is", async () => {
  const config = readConfig({}, { DATABASE_URL: database, PATCHBAY_ROOT_KEY: rootKey });
  for (const name of ["", "globex\nacme", "\u200b", "\u202eglobex"]) {
    await expect(createOrganization(config, name)).rejects.toThrow(/^<name>: /);
  }
});

test("docs/operating.md has each setting as it is", async () => {
  const committed = await readFile("docs/operating.md", "utf8");
  expect(await withSettings(committed)).toBe(committed);
});

test.each([
  [1, {}, { databasePoolSize: 10, memoryBudgetMib: 256 }],
  [2, {}, { databasePoolSize: 5, memoryBudgetMib: 128 }],
  [16, {}, { databasePoolSize: 3, memoryBudgetMib: 64 }],
  [3, { databasePoolSize: "20", memoryBudgetMib: "1000" }, { databasePoolSize: 6, memoryBudgetMib: 333 }],
])("of %d workers, each has its part of connections and memory", (workers, given, expected) => {
  const config = readConfig({ ...given, workers: String(workers) }, {});
  expect(partOfWorker(config)).toMatchObject(expected);
});
