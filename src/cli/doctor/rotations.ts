import type { Connection as Postgres } from "#src/db/connection.ts";
import type { Environment } from "#src/platform/caller.ts";
import { ok, shortened, warn, type Finding } from "./finding.ts";

/** A quarter. */
const oldDays = 90;

/** Finds secrets that nobody replaced for a quarter: of API keys, and of connections that renew nothing by themselves. */
export async function checkRotations(owner: Postgres, environment: Environment): Promise<readonly Finding[]> {
  const keys = await owner.run(oldKeys, [environment, oldDays]);
  const credentials = await owner.run(oldCredentials, [environment, oldDays]);
  const findings = [
    ...keys.map(({ org_id: org, id, name, days }) =>
      warn(`key ${JSON.stringify(name)} (${id}) of ${org} has a secret of ${days} days: rotate it`),
    ),
    ...credentials.map(({ org_id: org, name, days }) =>
      warn(
        `${name} of ${org} has a credential of ${days} days: replace it at its service, and store the new one`,
      ),
    ),
  ];
  return findings.length === 0 ? [ok(`no secret is older than ${oldDays} days`)] : shortened(findings);
}

const oldKeys = `
  select k.org_id, k.id, k.name, extract(day from now() - s.created_at)::int as days
  from api_keys k join api_key_secrets s on s.org_id = k.org_id and s.key_id = k.id
  where k.environment = $1 and s.valid_until is null and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > now()) and s.created_at < now() - make_interval(days => $2)
  order by s.created_at`;

// A credential that is one of our keys is judged as that, and what OAuth gave is renewed by itself. When the others were
// stored, their events say: those that name another hash than before.
const oldCredentials = `
  select * from (
    select c.org_id, coalesce(c.slug, c.id) as name, extract(day from now() - coalesce((
      select max(a.at) from audit_events a
      where a.org_id = c.org_id and a.target = c.id and a.action in ('connection.create', 'connection.upsert', 'connection.update')
        and a.at >= now() - make_interval(days => $2)
        and coalesce(a.details -> 'apiKeyHash' ->> 'before', a.details -> 'credentialHash' ->> 'before', '')
          <> coalesce(a.details -> 'apiKeyHash' ->> 'after', a.details -> 'credentialHash' ->> 'after', '')
    ), c.created_at))::int as days
    from connections c join credentials s on s.org_id = c.org_id and s.connection_id = c.id
    where c.environment = $1 and c.active and s.principal_key_id is null and c.created_at < now() - make_interval(days => $2)
      and not exists (select from oauth_grants g where g.org_id = c.org_id and g.connection_id = c.id)
  ) aged
  where days >= $2
  order by days desc`;
