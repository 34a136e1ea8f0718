import { openConnection, type Connection } from "#src/db/connection.ts";
import { quoted, readTables } from "#src/db/backup/layout.ts";
import type { TestService } from "./service.ts";

/** What a form of rows in lines could get wrong. */
const awkward = "tab\t line\n return\r backslash\\ end \\. null \\N quote'\" é 🙂";
const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

/** Values that a column's own rules ask for. */
const particular: Readonly<Record<string, unknown>> = {
  "users.status": "active",
  "api_key_secrets.secret_hash": everyByte.subarray(0, 32),
  // The days that there are, see keep_days.
  "events.ends_on": inDays(8).toISOString().slice(0, 10),
  "receipts.ends_at": inDays(8),
  "webhook_attempts.ends_on": inDays(31).toISOString().slice(0, 10),
};

const ofType: Readonly<Record<string, unknown>> = {
  text: awkward,
  bytea: everyByte,
  "text[]": ["a b", 'c,"d\\', awkward],
  json: '{ "kept" : "as it is",  "n":1.0 }',
  jsonb: '{"a": null}',
  boolean: true,
  date: "2026-02-28",
};

interface Column {
  readonly name: string;
  readonly type: string;
}

/** Makes the days that it needs, and puts a row into each table that has none, as the owner could: none of it means anything to the service. */
export async function fillEveryTable({ postgres, org }: TestService): Promise<void> {
  await using owner = openConnection(postgres.url, { application_name: "test filler" });
  await owner.run("select keep_days(now(), '{}')");
  for (const { name } of await readTables(owner)) {
    const [found] = await owner.run(`select exists(select from ${quoted(name)}) as filled`);
    if (found?.["filled"] !== true) await fill(owner, name, org.orgId);
  }
}

async function fill(owner: Connection, table: string, orgId: string): Promise<void> {
  const known = await knownValues(owner, table, orgId);
  const columns = (await owner.run(
    `select a.attname::text as name, regexp_replace(format_type(a.atttypid, -1), ' COLLATE.*', '') as type
     from pg_attribute a where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
     order by a.attnum`,
    [quoted(table)],
  )) as unknown as Column[];
  const names = columns.map(({ name }) => quoted(name)).join(", ");
  const values = columns.map(
    ({ name, type }) => known.get(name) ?? particular[`${table}.${name}`] ?? valueOf(type),
  );
  const places = columns.map((_, at) => `$${at + 1}`).join(", ");
  await owner.run(`insert into ${quoted(table)} (${names}) values (${places})`, values);
}

/** The organisation, and what the rows that the table refers to have. */
async function knownValues(owner: Connection, table: string, orgId: string): Promise<Map<string, unknown>> {
  const known = new Map<string, unknown>([["org_id", orgId]]);
  const references = await owner.run(
    `select r.relname::text as "to",
       array(select attname::text from unnest(k.conkey) with ordinality u(n, i)
         join pg_attribute on attrelid = k.conrelid and attnum = n order by i) as mine,
       array(select attname::text from unnest(k.confkey) with ordinality u(n, i)
         join pg_attribute on attrelid = k.confrelid and attnum = n order by i) as theirs
     from pg_constraint k join pg_class r on r.oid = k.confrelid
     where k.conrelid = $1::regclass and k.contype = 'f' and k.conparentid = 0`,
    [quoted(table)],
  );
  for (const { to, mine, theirs } of references as unknown as Record<"to", string>[] &
    Record<"mine" | "theirs", string[]>[]) {
    const condition = theirs.includes("org_id") ? "where org_id = $1" : "where $1 <> ''";
    const [row] = await owner.run(`select * from ${quoted(to)} ${condition} limit 1`, [orgId]);
    mine.forEach((column, at) => known.set(column, row?.[theirs[at] ?? ""]));
  }
  return known;
}

function inDays(days: number): Date {
  return new Date(Date.now() + days * 24 * 60 * 60 * 1_000);
}

function valueOf(type: string): unknown {
  if (type in ofType) return ofType[type];
  return type.startsWith("timestamp") ? new Date() : 1;
}
