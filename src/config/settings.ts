import { isLoopback } from "./loopback.ts";
import {
  anchorPlace,
  httpUrl,
  keyPrefixes,
  oneOf,
  origin,
  origins,
  outboundAllow,
  path,
  postgresUrl,
  redisUrl,
  rootKeyUrl,
  secret,
  slug,
  text,
  wholeNumber,
} from "./parse.ts";
import type { Setting } from "./setting.ts";

/**
 * Every setting there is. What the service is given, the help of the commands and the table in docs/operating.md all
 * come from here.
 */
export const settings = {
  host: {
    flag: "host",
    env: "PATCHBAY_HOST",
    value: "address",
    fallback: "127.0.0.1",
    about: "the address to listen on; 0.0.0.0 for all",
    parse: text,
  },
  port: {
    flag: "port",
    env: "PATCHBAY_PORT",
    value: "number",
    fallback: "7420",
    about: "the port to listen on; 0 takes a free one",
    parse: wholeNumber(0, 65_535),
  },
  workers: {
    flag: "workers",
    env: "PATCHBAY_WORKERS",
    value: "number",
    fallback: "1",
    about:
      "how many processes answer calls on the port, from 1 to 16: as many as the machine has processors to spare; with " +
      "more than one, a further process starts them, replaces them and keeps the embedded database",
    parse: wholeNumber(1, 16),
  },
  dataDir: {
    flag: "data-dir",
    env: "PATCHBAY_DATA_DIR",
    value: "folder",
    fallback: "./data",
    about: "where the embedded database and the first admin key are kept",
    parse: path,
  },
  databaseUrl: {
    env: "DATABASE_URL",
    value: "url",
    about: "an external Postgres, 15 or later, instead of the embedded one",
    secret: true,
    parse: postgresUrl,
  },
  databasePoolSize: {
    flag: "database-pool-size",
    env: "PATCHBAY_DATABASE_POOL_SIZE",
    value: "number",
    fallbackFor: ({ workers }) => String(Math.max(10, 3 * workers)),
    about:
      "how many connections to the database serve requests, from 2 to 50; workers divide them, and one organisation " +
      "uses at most half of them; not given, it is 10, or 3 for each worker if that is more",
    // With a single connection, one organisation could keep all others waiting.
    parse: wholeNumber(2, 50),
  },
  environment: {
    flag: "environment",
    env: "PATCHBAY_ENVIRONMENT",
    value: "sandbox|live",
    fallback: "sandbox",
    about: "which keys this deployment issues and accepts",
    parse: oneOf("sandbox", "live"),
  },
  fourEyesDeletion: {
    flag: "four-eyes-deletion",
    env: "PATCHBAY_FOUR_EYES_DELETION",
    value: "live|always|never",
    fallback: "live",
    about:
      "whether only a key that is bound to a user may delete connections: live asks for it in live deployments only",
    parse: oneOf("live", "always", "never"),
  },
  callerServiceSlug: {
    flag: "caller-service-slug",
    env: "PATCHBAY_CALLER_SERVICE_SLUG",
    value: "slug",
    fallback: "orchestration",
    about:
      "the service that this deployment calls built-in services as: only it may present the service principals " +
      "that are issued from then on",
    parse: slug,
  },
  legacyPrefixes: {
    flag: "legacy-prefixes",
    env: "PATCHBAY_LEGACY_PREFIXES",
    value: "list",
    fallback: "qedi_,bs_,aml_",
    about:
      "what imported keys may begin with beside qe_sk_, separated by commas, or none; a key with a prefix that is " +
      "taken out is refused",
    parse: keyPrefixes,
  },
  outboundAllow: {
    flag: "outbound-allow",
    env: "PATCHBAY_OUTBOUND_ALLOW",
    value: "list",
    about:
      "what connections may call beside the public internet: hosts, host:port, addresses or CIDRs, separated by " +
      "commas, or none; not given, it is loopback as long as the service listens on loopback, with no proxy in front",
    // So that a first try, which only this machine can reach, needs no setting.
    fallbackFor: ({ host, trustedProxyHops }) =>
      isLoopback(host) && trustedProxyHops === 0 ? "127.0.0.0/8, ::1/128" : "none",
    parse: outboundAllow,
  },
  rootKey: {
    env: "PATCHBAY_ROOT_KEY",
    value: "base64",
    about: "the key that everything is sealed under: 32 random bytes",
    secret: true,
    parse: secret,
  },
  rootKeyFile: {
    flag: "root-key-file",
    env: "PATCHBAY_ROOT_KEY_FILE",
    value: "file",
    about:
      "a file that holds the root key; not given, the embedded database takes ./data.root-key beside its " +
      "data folder, which its first start makes",
    parse: path,
  },
  rootKeyUrl: {
    flag: "root-key-url",
    env: "PATCHBAY_ROOT_KEY_URL",
    value: "url",
    about:
      "a root key that stays in AWS KMS, Google Cloud KMS or Vault, such as awskms:///alias/patchbay, " +
      "gcpkms://projects/… or vault+https://vault.internal:8200/transit/patchbay",
    parse: rootKeyUrl,
  },
  secondRootKey: {
    env: "PATCHBAY_SECOND_ROOT_KEY",
    value: "base64",
    about:
      "another root key, which opens what it wrapped and wraps nothing, while one takes the place of the other",
    secret: true,
    parse: secret,
  },
  secondRootKeyFile: {
    flag: "second-root-key-file",
    env: "PATCHBAY_SECOND_ROOT_KEY_FILE",
    value: "file",
    about: "a file that holds the second root key",
    parse: path,
  },
  secondRootKeyUrl: {
    flag: "second-root-key-url",
    env: "PATCHBAY_SECOND_ROOT_KEY_URL",
    value: "url",
    about: "where the second root key stays, as --root-key-url says it",
    parse: rootKeyUrl,
  },
  vaultToken: {
    env: "VAULT_TOKEN",
    value: "token",
    about: "the token for a root key in Vault, unless its URL names another way to log in",
    secret: true,
    parse: secret,
  },
  tlsCert: {
    flag: "tls-cert",
    env: "PATCHBAY_TLS_CERT",
    value: "file",
    about: "a certificate chain in PEM; the port then speaks TLS only",
    parse: path,
  },
  tlsKey: {
    flag: "tls-key",
    env: "PATCHBAY_TLS_KEY",
    value: "file",
    about: "the certificate's private key in PEM",
    parse: path,
  },
  corsOrigins: {
    flag: "cors-origins",
    env: "PATCHBAY_CORS_ORIGINS",
    value: "list",
    fallback: "",
    about: "origins whose pages may call from a browser, separated by commas",
    parse: origins,
  },
  publicUrl: {
    flag: "public-url",
    env: "PATCHBAY_PUBLIC_URL",
    value: "url",
    about:
      "where browsers find this deployment, such as https://patchbay.example: services send people back to " +
      "/oauth/callback there; not given, it is the address that the service listens on",
    parse: origin,
  },
  oauthReturnOrigins: {
    flag: "oauth-return-origins",
    env: "PATCHBAY_OAUTH_RETURN_ORIGINS",
    value: "list",
    fallback: "",
    about: "origins to which people may be sent after they connected a service, separated by commas",
    parse: origins,
  },
  rateLimitPerMinute: {
    flag: "rate-limit-per-minute",
    env: "PATCHBAY_RATE_LIMIT_PER_MINUTE",
    value: "number",
    fallbackFor: ({ environment }) => (environment === "live" ? "600" : "120"),
    about:
      "how many calls a minute a key may make that has no limit of its own; not given, it is 600 in live and 120 in " +
      "sandbox deployments",
    parse: wholeNumber(1, 100_000),
  },
  maxRateLimitPerMinute: {
    flag: "max-rate-limit-per-minute",
    env: "PATCHBAY_MAX_RATE_LIMIT_PER_MINUTE",
    value: "number",
    fallbackFor: ({ rateLimitPerMinute = 0 }) => String(Math.max(6_000, rateLimitPerMinute)),
    about:
      "the most calls a minute that a key may be given; one that was given more before is held to it; not given, it is " +
      "6000, or --rate-limit-per-minute if that is more",
    parse: wholeNumber(1, 100_000),
  },
  rateLimitUrl: {
    env: "PATCHBAY_RATE_LIMIT_URL",
    value: "url",
    about:
      "a Redis or Valkey server in which replicas count the calls of keys together, redis:// or rediss:// for TLS; " +
      "not given, each replica counts by itself",
    secret: true,
    parse: redisUrl,
  },
  failedAuthenticationsPerMinute: {
    flag: "failed-authentications-per-minute",
    env: "PATCHBAY_FAILED_AUTHENTICATIONS_PER_MINUTE",
    value: "number",
    fallback: "60",
    about:
      "how many calls a minute from one client address may fail to authenticate; all that follow from there are " +
      "refused, so behind a proxy, whose address all clients share, choose it high or set --trusted-proxy-hops",
    parse: wholeNumber(1, 100_000),
  },
  memoryBudgetMib: {
    flag: "memory-budget-mib",
    env: "PATCHBAY_MEMORY_BUDGET_MIB",
    value: "number",
    fallbackFor: ({ workers }) => String(Math.max(256, 64 * workers)),
    about:
      "how many MiB of requests, answers of other services and answers that callers have not read yet may be held at " +
      "once; workers divide it, an organisation may hold half of it, and what is beyond is refused; not given, it is " +
      "256, or 64 for each worker if that is more",
    parse: wholeNumber(64, 65_536),
  },
  eventStorageMib: {
    flag: "event-storage-mib",
    env: "PATCHBAY_EVENT_STORAGE_MIB",
    value: "number",
    fallback: "1024",
    about:
      "how many MiB the events of one organisation may take; further events of its channels are refused until older " +
      "ones end or channels are deleted",
    parse: wholeNumber(1, 1_048_576),
  },
  auditAnchors: {
    flag: "audit-anchors",
    env: "PATCHBAY_AUDIT_ANCHORS",
    value: "file|url",
    about:
      "where signed heads of the audit records are written every few minutes, out of reach of the owner of the " +
      "database: a file, or a URL that takes POST; not given, they are kept in the database only",
    parse: anchorPlace,
  },
  auditRetentionMonths: {
    flag: "audit-retention-months",
    env: "PATCHBAY_AUDIT_RETENTION_MONTHS",
    value: "number",
    about:
      "how many whole months before the running one audit events are kept; older ones are removed once they are " +
      "anchored; not given, they are kept for ever",
    parse: wholeNumber(1, 1_200),
  },
  trustedProxyHops: {
    flag: "trusted-proxy-hops",
    env: "PATCHBAY_TRUSTED_PROXY_HOPS",
    value: "number",
    fallback: "0",
    about:
      "how many proxies in front append the address that called them to X-Forwarded-For: the client is that many " +
      "entries from its right; 0 ignores the header",
    parse: wholeNumber(0, 10),
  },
  metricsPort: {
    flag: "metrics-port",
    env: "PATCHBAY_METRICS_PORT",
    value: "number",
    about:
      "the port to serve GET /metrics on, without TLS and on the same address as the service; not given, there are " +
      "no metrics",
    parse: wholeNumber(0, 65_535),
  },
  otlpEndpoint: {
    flag: "otlp-endpoint",
    env: "OTEL_EXPORTER_OTLP_ENDPOINT",
    value: "url",
    about:
      "the OpenTelemetry collector that traces are sent to, as protobuf over HTTP, such as http://127.0.0.1:4318; " +
      "not given, there are no traces",
    parse: httpUrl,
  },
  tracePercent: {
    flag: "trace-percent",
    env: "PATCHBAY_TRACE_PERCENT",
    value: "number",
    fallback: "100",
    about: "how many of a hundred traces are recorded, from 1 to 100",
    parse: wholeNumber(1, 100),
  },
  drainSeconds: {
    flag: "drain-seconds",
    env: "PATCHBAY_DRAIN_SECONDS",
    value: "number",
    fallback: "10",
    about: "how long calls on their way may take to finish after SIGTERM",
    parse: wholeNumber(0, 3_600),
  },
  unaryLane: {
    flag: "unary-lane",
    env: "PATCHBAY_UNARY_LANE",
    value: "on|off",
    fallback: "on",
    about:
      "whether unary calls over Connect and gRPC take the service's own short way; off has the Connect library serve " +
      "them all, to compare the two, or if the short way turns out to have a fault; long messages " +
      "hold up other calls then",
    parse: oneOf("on", "off"),
  },
  logLevel: {
    flag: "log-level",
    env: "PATCHBAY_LOG_LEVEL",
    value: "level",
    fallback: "info",
    about: "debug, info, warn, error or silent",
    parse: oneOf("debug", "info", "warn", "error", "silent"),
  },
} as const satisfies Record<string, Setting<unknown>>;

/** The name of a setting in code. */
export type SettingName = keyof typeof settings;

/** A setting of the table, when it is not known which one. */
export function settingNamed(name: SettingName): Setting<unknown> {
  return settings[name];
}

/** The name that people know the setting by. */
export function nameOf(name: SettingName): string {
  const { flag, env } = settingNamed(name);
  return flag === undefined ? env : `--${flag} (${env})`;
}
