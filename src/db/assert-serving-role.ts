import { sql } from "./drizzle.cjs";
import type { Database } from "./database.ts";
import { servingRole } from "./serving-role.ts";

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
  // A statement outside any transaction has the role of its session, whose settings a pooler may drop.
  const [session] = await database.single((tx) =>
    tx.execute<{ user: string }>(sql`select current_user as user`),
  );
  if (session?.user !== servingRole) {
    throw new Error(
      `sessions of the database do not start as ${servingRole}: let DATABASE_URL lead to Postgres itself, and not to ` +
        "a pooler that drops start-up parameters",
    );
  }
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
