import { and, eq } from "drizzle-orm";
import type { Tx } from "#src/db/database.ts";
import { orgs, users } from "./schema.ts";

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

/** Whether the user can answer for what is done in the organisation. */
export async function isActiveUser(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const [row] = await tx
    .select({ id: users.id })
    .from(users)
    .where(and(eq(users.orgId, orgId), eq(users.id, id), eq(users.status, "active")));
  return row !== undefined;
}
