import type { Config } from "#src/config/config.ts";
import { nameOf } from "#src/config/settings.ts";
import type { Connection as Postgres } from "#src/db/connection.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound, type Outbound } from "#src/outbound/outbound.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { ok, shortened, warn, type Finding } from "./finding.ts";

/** What is known of a connection that is to be looked at. */
interface Row {
  readonly orgId: string;
  /** Its slug, or its id if it has none. */
  readonly name: string;
  readonly baseUrl: string;
  readonly status: string;
  /** What the service's own probe, with the credential, found last. */
  readonly stage: string | null;
  readonly error: string | null;
}

const most = 500;
const atOnce = 16;
const askMs = 5_000;
/** All together: many that hang must not hold up whoever waits for the rest. */
const allMs = 30_000;
const renewMs = 14 * 24 * 60 * 60 * 1000;

/**
 * Asks each active connection's service for a sign of life, from this machine and without the credential. Whether the
 * credential is taken, the last probe of the running service says: asking with it could renew tokens, which is a change.
 */
export async function checkConnections(
  owner: Postgres,
  { environment, outboundAllow }: Config,
): Promise<readonly Finding[]> {
  const rows = await activeConnections(owner, environment);
  if (rows.length === 0) return [ok("none is active")];
  const outbound = createOutbound({ allow: parseOutboundAllow(outboundAllow) });
  try {
    const problems = await problemsOf(outbound, rows.slice(0, most));
    const looked = Math.min(rows.length, most);
    const beside = rows.length > looked ? `; ${rows.length - looked} more were not looked at` : "";
    const summary = `${looked - problems.length} of ${looked} are reached, and take their credential as far as the last probe says${beside}`;
    return [...shortened(problems), problems.length === 0 ? ok(summary) : warn(summary)];
  } finally {
    await outbound.close();
  }
}

async function problemsOf(outbound: Outbound, rows: readonly Row[]): Promise<Finding[]> {
  const problems: Finding[] = [];
  const endsAt = performance.now() + allMs;
  const next = rows.values();
  const look = async () => {
    for (const row of next) {
      const problem =
        performance.now() < endsAt
          ? await problemOf(outbound, row)
          : "was not asked, as others took too long";
      if (problem !== undefined) problems.push(warn(`${row.name} of ${row.orgId}: ${problem}`));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, look));
  return problems;
}

async function problemOf(outbound: Outbound, row: Row): Promise<string | undefined> {
  if (row.status !== "ACTIVE") return `is ${row.status}: have it authorized again`;
  const problem = await problemOnTheWay(outbound, row);
  if (problem !== undefined) return problem;
  if (row.stage !== "auth") return undefined;
  return `auth: ${row.error ?? "its credential is refused"}; store a credential that is good`;
}

async function problemOnTheWay(outbound: Outbound, { orgId, baseUrl }: Row): Promise<string | undefined> {
  try {
    const asked = { method: "GET", path: "", statusOnly: true, timeoutMs: askMs } as const;
    const { status, certificateExpiresAt: ends } = await outbound.send({ share: orgId, baseUrl, ...asked });
    if (status >= 500) return `status: the service answered ${status}; it fails by itself: look at its log`;
    if (ends === undefined || ends.getTime() - Date.now() >= renewMs) return undefined;
    return `TLS: its certificate is valid until ${ends.toISOString()}; have it renewed`;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const { message, reason, metadata } = error;
    const stage = metadata["stage"] ?? reason;
    const said = message.startsWith(`${stage}: `) ? message : `${stage}: ${message}`;
    return `${said}; ${remedies[stage] ?? "look at the service, and at its base URL"}`;
  }
}

const remedies: Readonly<Record<string, string>> = {
  DNS: "correct the host of its base URL, or the name server of this machine",
  TCP: "start the service, or open the way from this machine to it",
  TLS: "renew its certificate, or have this process trust the issuer with NODE_EXTRA_CA_CERTS",
  HTTP: "the service took the request and did not answer as it should: look at its log",
  ADDRESS_DENIED: `name its host in ${nameOf("outboundAllow")}`,
};

async function activeConnections(owner: Postgres, environment: string): Promise<Row[]> {
  const rows = await owner.run(
    `select c.org_id, coalesce(c.slug, c.id) as name, c.base_url, c.status, h.last_error_stage, h.last_error
     from connections c
     left join connection_health h on h.org_id = c.org_id and h.connection_id = c.id
       and h.last_error_at is not null and h.last_error_at >= coalesce(h.last_healthy_at, h.last_error_at)
     where c.active and c.environment = $1 and c.status <> 'PENDING_AUTHORIZATION'
     order by c.org_id, c.id`,
    [environment],
  );
  return rows.map((row) => ({
    orgId: String(row["org_id"]),
    name: String(row["name"]),
    baseUrl: String(row["base_url"]),
    status: String(row["status"]),
    stage: row["last_error_stage"] as string | null,
    error: row["last_error"] as string | null,
  }));
}
