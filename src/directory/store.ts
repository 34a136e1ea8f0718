import { and, asc, eq, gt, or, sql } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import type { PageRequest } from "#src/platform/paging.ts";
import { orgs, users } from "./schema.ts";
import type { Person, User } from "./user.ts";

/** An organisation: everything else belongs to one. */
export interface Organization {
  readonly id: string;
  readonly name: string;
  readonly createdAt: Date;
}

/** Stores a new organisation. */
export async function insertOrganization(tx: Tx, org: Organization): Promise<void> {
  await tx.insert(orgs).values(org);
}

/** Whether the user can answer for what is done in the organisation, from now to the end of the transaction. */
export async function isActiveUser(tx: Tx, orgId: string, id: string): Promise<boolean> {
  // Without the lock, a key could be bound to a user who is deactivated in between.
  const [row] = await tx.select({ status: users.status }).from(users).where(hasId(orgId, id)).for("share");
  return row?.status === "active";
}

/** Makes upserts of the organisation follow one another: a person is found by either of two names. */
export async function lockDirectory(tx: Tx, orgId: string): Promise<void> {
  const name = JSON.stringify(["directory", orgId]);
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`);
}

/** The users who share the person's external id or email, locked: at most one of each. */
export async function findUsersForUpdate(tx: Tx, orgId: string, person: Person): Promise<User[]> {
  const { email, externalId } = person;
  const sameEmail = eq(sql`lower(${users.email})`, email);
  const sameName = externalId === undefined ? sameEmail : or(sameEmail, eq(users.externalId, externalId));
  const rows = await tx
    .select()
    .from(users)
    .where(and(eq(users.orgId, orgId), sameName))
    .orderBy(asc(users.id))
    .for("update");
  return rows.map(fromRow);
}

/** One user of the organisation. */
export async function getUser(tx: Tx, orgId: string, id: string): Promise<User | undefined> {
  const [row] = await tx.select().from(users).where(hasId(orgId, id));
  return row && fromRow(row);
}

/** Locks the row, so that two changes cannot both start from the same state. */
export async function getUserForUpdate(tx: Tx, orgId: string, id: string): Promise<User | undefined> {
  const [row] = await tx.select().from(users).where(hasId(orgId, id)).for("update");
  return row && fromRow(row);
}

/** The users of the page, oldest first. */
export async function listUsers(tx: Tx, orgId: string, page: PageRequest): Promise<User[]> {
  const rows = await tx
    .select()
    .from(users)
    .where(and(eq(users.orgId, orgId), gt(users.id, page.after)))
    .orderBy(asc(users.id))
    .limit(page.limit);
  return rows.map(fromRow);
}

/** Stores a new user. */
export async function insertUser(tx: Tx, user: User): Promise<void> {
  await tx.insert(users).values(user);
}

/** Writes what may change of a user. */
export async function saveUser(tx: Tx, user: User): Promise<void> {
  const { externalId = null, email, role, status } = user;
  await tx.update(users).set({ externalId, email, role, status }).where(hasId(user.orgId, user.id));
}

function hasId(orgId: string, id: string) {
  return and(eq(users.orgId, orgId), eq(users.id, id));
}

function fromRow(row: typeof users.$inferSelect): User {
  return { ...row, externalId: row.externalId ?? undefined };
}
