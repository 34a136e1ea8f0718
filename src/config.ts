import { isIP } from "node:net";
import { resolve } from "node:path";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import type { Environment } from "#src/platform/caller.ts";
import { Secret } from "#src/platform/secret.ts";

/** A setting as people give it: by flag, else by environment, else its default. An empty one counts as not given. */
interface SettingSpec {
  /** Without `--`. Secrets have none: everybody on the machine sees the flags of a process. */
  readonly flag?: string;
  readonly env: string;
  readonly value: string;
  readonly fallback: string;
  readonly about: string;
  readonly secret?: true;
}

/** Every setting there is. docs/operating.md holds the same table, and a test compares them. */
export const settingSpecs = {
  host: {
    flag: "host",
    env: "PATCHBAY_HOST",
    value: "address",
    fallback: "127.0.0.1",
    about: "the address to listen on; 0.0.0.0 for all",
  },
  port: {
    flag: "port",
    env: "PATCHBAY_PORT",
    value: "number",
    fallback: "7420",
    about: "the port to listen on; 0 takes a free one",
  },
  dataDir: {
    flag: "data-dir",
    env: "PATCHBAY_DATA_DIR",
    value: "folder",
    fallback: "./data",
    about: "where the embedded database and the first admin key are kept",
  },
  databaseUrl: {
    env: "DATABASE_URL",
    value: "url",
    fallback: "",
    about: "an external Postgres, 15 or later, instead of the embedded one",
    secret: true,
  },
  environment: {
    flag: "environment",
    env: "PATCHBAY_ENVIRONMENT",
    value: "sandbox|live",
    fallback: "sandbox",
    about: "which keys this deployment issues and accepts",
  },
  fourEyesDeletion: {
    flag: "four-eyes-deletion",
    env: "PATCHBAY_FOUR_EYES_DELETION",
    value: "live|always|never",
    fallback: "live",
    about:
      "whether only a key that is bound to a user may delete connections: live asks for it in live deployments only",
  },
  callerServiceSlug: {
    flag: "caller-service-slug",
    env: "PATCHBAY_CALLER_SERVICE_SLUG",
    value: "slug",
    fallback: "orchestration",
    about:
      "the service that this deployment calls built-in services as: only it may present the service principals " +
      "that are issued from then on",
  },
  legacyPrefixes: {
    flag: "legacy-prefixes",
    env: "PATCHBAY_LEGACY_PREFIXES",
    value: "list",
    fallback: "qedi_,bs_,aml_",
    about:
      "what imported keys may begin with beside qe_sk_, separated by commas; a key with a prefix that is taken out " +
      "is refused",
  },
  outboundAllow: {
    flag: "outbound-allow",
    env: "PATCHBAY_OUTBOUND_ALLOW",
    value: "list",
    fallback: "",
    about:
      "what connections may call beside the public internet: hosts, host:port, addresses or CIDRs, separated by " +
      "commas, or none; not given, it is loopback as long as the service itself listens on loopback",
  },
  rootKey: {
    env: "PATCHBAY_ROOT_KEY",
    value: "base64",
    fallback: "",
    about: "the key that everything is sealed under: 32 random bytes",
    secret: true,
  },
  rootKeyFile: {
    flag: "root-key-file",
    env: "PATCHBAY_ROOT_KEY_FILE",
    value: "file",
    fallback: "",
    about:
      "a file that holds the root key; not given, the embedded database takes ./data.root-key beside its " +
      "data folder, which its first start makes",
  },
  tlsCert: {
    flag: "tls-cert",
    env: "PATCHBAY_TLS_CERT",
    value: "file",
    fallback: "",
    about: "a certificate chain in PEM; the port then speaks TLS only",
  },
  tlsKey: {
    flag: "tls-key",
    env: "PATCHBAY_TLS_KEY",
    value: "file",
    fallback: "",
    about: "the certificate's private key in PEM",
  },
  corsOrigins: {
    flag: "cors-origins",
    env: "PATCHBAY_CORS_ORIGINS",
    value: "list",
    fallback: "",
    about: "origins whose pages may call from a browser, separated by commas",
  },
  rateLimitPerMinute: {
    flag: "rate-limit-per-minute",
    env: "PATCHBAY_RATE_LIMIT_PER_MINUTE",
    value: "number",
    fallback: "",
    about:
      "how many calls a minute a key may make that has no limit of its own; not given, it is 600 in live and 120 in " +
      "sandbox deployments",
  },
  maxRateLimitPerMinute: {
    flag: "max-rate-limit-per-minute",
    env: "PATCHBAY_MAX_RATE_LIMIT_PER_MINUTE",
    value: "number",
    fallback: "",
    about:
      "the most calls a minute that a key may be given; one that was given more before is held to it; not given, it is " +
      "6000, or --rate-limit-per-minute if that is more",
  },
  rateLimitUrl: {
    env: "PATCHBAY_RATE_LIMIT_URL",
    value: "url",
    fallback: "",
    about:
      "a Redis or Valkey server in which replicas count the calls of keys together, redis:// or rediss:// for TLS; " +
      "not given, each replica counts by itself",
    secret: true,
  },
  failedAuthenticationsPerMinute: {
    flag: "failed-authentications-per-minute",
    env: "PATCHBAY_FAILED_AUTHENTICATIONS_PER_MINUTE",
    value: "number",
    fallback: "60",
    about:
      "how many calls a minute from one client address may fail to authenticate; all that follow from there are " +
      "refused, so behind a proxy, whose address all clients share, choose it high or set --trusted-proxy-hops",
  },
  trustedProxyHops: {
    flag: "trusted-proxy-hops",
    env: "PATCHBAY_TRUSTED_PROXY_HOPS",
    value: "number",
    fallback: "0",
    about:
      "how many proxies in front append the address that called them to X-Forwarded-For: the client is that many " +
      "entries from its right; 0 ignores the header",
  },
  metricsPort: {
    flag: "metrics-port",
    env: "PATCHBAY_METRICS_PORT",
    value: "number",
    fallback: "",
    about:
      "the port to serve GET /metrics on, without TLS and on the same address as the service; not given, there are " +
      "no metrics",
  },
  drainSeconds: {
    flag: "drain-seconds",
    env: "PATCHBAY_DRAIN_SECONDS",
    value: "number",
    fallback: "10",
    about: "how long calls on their way may take to finish after SIGTERM",
  },
  logLevel: {
    flag: "log-level",
    env: "PATCHBAY_LOG_LEVEL",
    value: "level",
    fallback: "info",
    about: "debug, info, warn, error or silent",
  },
} as const satisfies Record<string, SettingSpec>;

/** The name of a setting in code. */
export type SettingName = keyof typeof settingSpecs;

const logLevels = ["debug", "info", "warn", "error", "silent"] as const;

/** The settings, checked. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  /** Undefined means the embedded database. It may hold a password. */
  readonly databaseUrl: Secret | undefined;
  readonly environment: Environment;
  /** Deletions need a key that is bound to a user. */
  readonly fourEyesDeletion: boolean;
  readonly callerServiceSlug: string;
  readonly legacyPrefixes: readonly string[];
  readonly limits: {
    readonly callsPerMinute: number;
    readonly maxCallsPerMinute: number;
    readonly failuresPerMinute: number;
  };
  /** Undefined means that each replica counts by itself. It may hold a password. */
  readonly rateLimitUrl: Secret | undefined;
  /** A list that `parseOutboundAllow` reads; empty for public addresses only. */
  readonly outboundAllow: string;
  readonly rootKey: Secret | undefined;
  readonly rootKeyFile: string | undefined;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly corsOrigins: readonly string[];
  /** 0 means that X-Forwarded-For is not read. */
  readonly trustedProxyHops: number;
  readonly metricsPort: number | undefined;
  readonly drainMs: number;
  readonly logLevel: (typeof logLevels)[number];
}

/** A setting that cannot be used; the message names it both ways and says what would do. */
export class InvalidSetting extends Error {
  override readonly name = "InvalidSetting";

  constructor(setting: SettingName, problem: string) {
    super(`${nameOf(setting)}: ${problem}`);
  }
}

/** How people know the setting. */
export function nameOf(setting: SettingName): string {
  const spec: SettingSpec = settingSpecs[setting];
  return spec.flag === undefined ? spec.env : `--${spec.flag} (${spec.env})`;
}

/** The settings that can be given as flags, as they were given. */
export type Flags = Partial<Record<SettingName, string>>;

/** Reads the settings. This is the only place that knows the environment of the process. */
export function readConfig(
  flags: Flags,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  const given = (setting: SettingName) => filled(flags[setting]) ?? filled(env[settingSpecs[setting].env]);
  const text = (setting: SettingName) => given(setting) ?? settingSpecs[setting].fallback;

  const host = text("host");
  const rootKey = given("rootKey");
  const rootKeyFile = given("rootKeyFile");
  if (rootKey !== undefined && rootKeyFile !== undefined) {
    throw new InvalidSetting("rootKeyFile", `give it or ${nameOf("rootKey")}, not both`);
  }
  const environment = oneOf("environment", text("environment"), ["sandbox", "live"]);
  const fourEyes = oneOf("fourEyesDeletion", text("fourEyesDeletion"), ["live", "always", "never"]);
  return {
    host,
    port: portNumber("port", text("port")),
    dataDir: resolve(text("dataDir")),
    databaseUrl: postgresUrl(given("databaseUrl")),
    environment,
    fourEyesDeletion: fourEyes === "always" || (fourEyes === "live" && environment === "live"),
    callerServiceSlug: slug("callerServiceSlug", text("callerServiceSlug")),
    legacyPrefixes: prefixes(text("legacyPrefixes")),
    outboundAllow: allowList(given("outboundAllow"), host),
    rootKey: rootKey === undefined ? undefined : Secret.fromText(rootKey),
    rootKeyFile: rootKeyFile && resolve(rootKeyFile),
    tls: tlsFiles(given("tlsCert"), given("tlsKey")),
    corsOrigins: origins(text("corsOrigins")),
    limits: {
      ...callLimits(defaultLimits[environment], given("rateLimitPerMinute"), given("maxRateLimitPerMinute")),
      failuresPerMinute: perMinute("failedAuthenticationsPerMinute", text("failedAuthenticationsPerMinute")),
    },
    rateLimitUrl: redisUrl(given("rateLimitUrl")),
    trustedProxyHops: wholeNumber("trustedProxyHops", text("trustedProxyHops"), 0, 10),
    metricsPort: optionalPort("metricsPort", given("metricsPort")),
    drainMs: wholeNumber("drainSeconds", text("drainSeconds"), 0, 3_600) * 1000,
    logLevel: oneOf("logLevel", text("logLevel"), logLevels),
  };
}

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function filled(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text.trim();
}

const defaultLimits: Readonly<Record<Environment, number>> = { live: 600, sandbox: 120 };
const usualCeiling = 6_000;

/** What keys may do that have no limit of their own, and at most those that have one. */
function callLimits(usual: number, limit: string | undefined, most: string | undefined) {
  const wanted = limit === undefined ? undefined : perMinute("rateLimitPerMinute", limit);
  const ceiling = most === undefined ? undefined : perMinute("maxRateLimitPerMinute", most);
  if (wanted !== undefined && ceiling !== undefined && wanted > ceiling) {
    throw new InvalidSetting(
      "maxRateLimitPerMinute",
      `give at least ${wanted}, which is ${nameOf("rateLimitPerMinute")}, not ${ceiling}`,
    );
  }
  const callsPerMinute = wanted ?? Math.min(usual, ceiling ?? usual);
  return { callsPerMinute, maxCallsPerMinute: ceiling ?? Math.max(usualCeiling, callsPerMinute) };
}

function perMinute(setting: SettingName, text: string): number {
  return wholeNumber(setting, text, 1, 100_000);
}

function portNumber(setting: SettingName, text: string): number {
  return wholeNumber(setting, text, 0, 65_535);
}

function optionalPort(setting: SettingName, text: string | undefined): number | undefined {
  return text === undefined ? undefined : portNumber(setting, text);
}

function wholeNumber(setting: SettingName, text: string, min: number, max: number): number {
  if (!/^\d{1,6}$/.test(text) || Number(text) < min || Number(text) > max) {
    throw new InvalidSetting(
      setting,
      `give a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`,
    );
  }
  return Number(text);
}

function oneOf<Value extends string>(setting: SettingName, text: string, values: readonly Value[]): Value {
  const found = values.find((value) => value === text);
  if (found !== undefined) return found;
  throw new InvalidSetting(setting, `give one of ${values.join(", ")}, not ${JSON.stringify(text)}`);
}

function slug(setting: SettingName, text: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(text)) return text;
  throw new InvalidSetting(
    setting,
    `give lower-case letters, digits and hyphens, at most 63, not ${JSON.stringify(text)}`,
  );
}

function postgresUrl(text: string | undefined): Secret | undefined {
  if (text === undefined) return undefined;
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) {
    // It may hold a password, so the message does not repeat it.
    throw new InvalidSetting(
      "databaseUrl",
      "give a URL such as postgres://user:password@host:5432/patchbay, with special characters percent-encoded",
    );
  }
  return Secret.fromText(text);
}

function prefixes(text: string): string[] {
  const list = text.split(",").map((prefix) => prefix.trim());
  for (const prefix of list) {
    // With one of ours among them, it would be open whether a key names its environment.
    const isOurs = prefix.startsWith("qe_sk_") || "qe_sk_".startsWith(prefix);
    if (isOurs || !/^[A-Za-z0-9_-]{1,31}[_-]$/.test(prefix)) {
      throw new InvalidSetting(
        "legacyPrefixes",
        "give prefixes such as qedi_, of 2 to 32 letters, digits, _ and -, with _ or - at the end, and none that " +
          `qe_sk_ keys have, not ${JSON.stringify(prefix)}`,
      );
    }
  }
  return list;
}

function redisUrl(text: string | undefined): Secret | undefined {
  if (text === undefined) return undefined;
  if (!isRedisUrl(text)) {
    throw new InvalidSetting(
      "rateLimitUrl",
      "give a URL such as redis://user:password@host:6379/0, or rediss:// for TLS, with special characters " +
        "percent-encoded and a number as database",
    );
  }
  return Secret.fromText(text);
}

function isRedisUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === "") return false;
  // What would be left unread was most likely meant to be a part of the password.
  if (!/^(\/\d*)?$/.test(url.pathname) || url.search !== "" || url.hash !== "") return false;
  return [url.username, url.password].every(isPercentEncoded);
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** What a deployment that only this machine can reach may call by default, so that a first try needs no setting. */
const loopback = "127.0.0.0/8, ::1/128";

function allowList(text: string | undefined, host: string): string {
  if (text === "none") return "";
  if (text === undefined) return isLoopback(host) ? loopback : "";
  try {
    parseOutboundAllow(text);
  } catch (error) {
    throw new InvalidSetting("outboundAllow", (error as Error).message);
  }
  return text;
}

function tlsFiles(cert: string | undefined, key: string | undefined) {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined)
    throw new InvalidSetting("tlsCert", `is missing beside ${nameOf("tlsKey")}; give both or none`);
  if (key === undefined)
    throw new InvalidSetting("tlsKey", `is missing beside ${nameOf("tlsCert")}; give both or none`);
  return { certFile: resolve(cert), keyFile: resolve(key) };
}

function origins(text: string): string[] {
  const list = text
    .split(",")
    .map((origin) => origin.trim())
    .filter((origin) => origin !== "");
  for (const origin of list) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw new InvalidSetting(
        "corsOrigins",
        `give origins such as https://app.example, without path or slash at the end, not ${JSON.stringify(origin)}`,
      );
    }
  }
  return list;
}
