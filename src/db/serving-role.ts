import { sql } from "drizzle-orm";
import type { Connection } from "./connection.ts";
import type { Database } from "./database.ts";
import { DatabaseError } from "./errors.ts";

/** The role that every transaction of the service takes. It owns nothing, so that row security binds it. */
export const servingRole = "patchbay_app";

/** Fails if row security would not bind the serving role; the service must not start then. */
export async function assertServingRole(database: Database): Promise<void> {
  const [role] = await database.system((tx) =>
    tx.execute<{ superuser: boolean; bypasses: boolean; owns: string | null }>(sql`
      select rolsuper as superuser, rolbypassrls as bypasses, (
        select min(format('%I.%I', nspname, relname))
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname not like 'pg\\_%' and nspname <> 'information_schema'
          and pg_has_role(current_user, relowner, 'USAGE')
      ) as owns
      from pg_roles where rolname = current_user`),
  );
  if (role === undefined) throw new Error(`the database role ${servingRole} is missing`);
  if (role.superuser) throw new UnsafeServingRole("is a superuser", `ALTER ROLE ${servingRole} NOSUPERUSER`);
  if (role.bypasses) throw new UnsafeServingRole("has BYPASSRLS", `ALTER ROLE ${servingRole} NOBYPASSRLS`);
  if (role.owns !== null) {
    throw new UnsafeServingRole(
      `owns ${role.owns}, itself or through another role`,
      "give it to another owner",
    );
  }
}

/** Serving like this would show each organisation the rows of all others. */
class UnsafeServingRole extends Error {
  override readonly name = "UnsafeServingRole";

  constructor(problem: string, remedy: string) {
    super(`the database role ${servingRole} ${problem}, so row security would not bind it: ${remedy}`);
  }
}

/**
 * Makes the role, and the connected user a member of it. Roles belong to the whole cluster, so the migrations
 * of two of its databases may do this at the same moment.
 */
export async function createServingRole(connection: Connection): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const [found] = await connection.run(
      `select current_user as "user", coalesce(pg_has_role(current_user, oid, ${mayTake}), false) as member
       from (select 1) as one left join pg_roles on rolname = '${servingRole}'`,
    );
    if (found?.["member"] === true) return;
    try {
      await connection.run(createRole);
      await connection.run(`grant ${servingRole} to current_user`);
      return;
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      if (error.code === "42501") throw new MayNotCreateRole(String(found?.["user"]));
      // Lost a race: another session wrote the same catalog row.
      if (attempt === 10) throw error;
    }
  }
}

// Since Postgres 16 a member may administer a role without being allowed to take it.
const mayTake = "case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end";
const createRole = `do $$ begin
  if not exists (select from pg_roles where rolname = '${servingRole}') then
    create role ${servingRole} nologin;
  end if;
end $$`;

/** The connected user lacks CREATEROLE; somebody who has it must help once. */
class MayNotCreateRole extends Error {
  override readonly name = "MayNotCreateRole";

  constructor(user: string) {
    const quoted = `"${user.replaceAll('"', '""')}"`;
    super(
      `the database user ${quoted} may not create the role ${servingRole}. Run this once as an administrator of ` +
        `the database, then start again:\n  CREATE ROLE ${servingRole} NOLOGIN;\n  GRANT ${servingRole} TO ${quoted};`,
    );
  }
}
