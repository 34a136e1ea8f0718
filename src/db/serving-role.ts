import type { Connection } from "./connection.ts";
import { DatabaseError } from "./errors.ts";

/** The role that every transaction of the service takes. It owns nothing, so that row security binds it. */
export const servingRole = "patchbay_app";

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

/** The connected user lacks CREATEROLE; an administrator must help once. */
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
