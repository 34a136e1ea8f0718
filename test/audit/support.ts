import type { TestDatabase } from "../support/postgres.ts";

/** What somebody with the owner's password can do: the triggers are only in the way of slips. */
export async function tamper(postgres: TestDatabase, ...statements: string[]): Promise<void> {
  for (const table of ["audit_events", "audit_heads"]) {
    await postgres.asOwner(`alter table ${table} disable trigger user`);
  }
  for (const statement of statements) await postgres.asOwner(statement);
  for (const table of ["audit_events", "audit_heads"]) {
    await postgres.asOwner(`alter table ${table} enable trigger user`);
  }
}

/** Statements that write an organisation's record anew from an event on, each hash as `audit_append` computes it. */
export function rewriteFrom(orgId: string, seq: number, edit: string): string[] {
  const fields = [
    `'audit.v1'`, "e.org_id", "e.seq::text", "(extract(epoch FROM e.at) * 1000)::bigint::text", "e.action", "e.target",
    "e.api_key_id", "e.user_id", "e.request_id", "e.details::text",
  ]; // prettier-ignore
  return [
    `update audit_events set ${edit} where org_id = '${orgId}' and seq = ${seq}`,
    `do $$
     declare e audit_events; previous bytea; hashed bytea; field text;
     begin
       select previous_hash into previous from audit_events where org_id = '${orgId}' and seq = ${seq};
       for e in select * from audit_events where org_id = '${orgId}' and seq >= ${seq} order by seq loop
         hashed := previous;
         foreach field in array array[${fields.join(", ")}] loop
           hashed := hashed || coalesce(
             int4send(octet_length(convert_to(field, 'UTF8'))) || convert_to(field, 'UTF8'), int4send(-1));
         end loop;
         update audit_events set previous_hash = previous, hash = sha256(hashed)
           where org_id = e.org_id and seq = e.seq;
         previous := sha256(hashed);
       end loop;
       update audit_heads set hash = previous where org_id = '${orgId}';
     end $$`,
  ];
}

/** Statements that let the first events of a record be this many days older than they are, with hashes that fit. */
export function ageUpTo(orgId: string, seq: number, days: number): string[] {
  return [
    `update audit_events set at = at - interval '${days} days' where org_id = '${orgId}' and seq <= ${seq}`,
    ...rewriteFrom(orgId, 1, "target = target"),
  ];
}
