import { newId } from "#src/platform/ids.ts";
import { UserConflict } from "./errors.ts";

/** A person of the organisation, who can answer for what keys do. */
export interface User {
  readonly orgId: string;
  readonly id: string;
  /** The person's id in the organisation's own directory. */
  readonly externalId: string | undefined;
  /** In lower case. */
  readonly email: string;
  readonly role: string;
  readonly status: "active" | "deactivated";
  readonly createdAt: Date;
}

/** What the organisation says of a person. Undefined fields of the user stay as they are. */
export interface Person {
  readonly externalId: string | undefined;
  /** In lower case. */
  readonly email: string;
  readonly role: string | undefined;
}

/** The person's user among those with the same external id or email. The external id counts first. */
export function userOf(person: Person, candidates: readonly User[]): User | undefined {
  const { externalId, email } = person;
  const byEmail = candidates.find((user) => user.email === email);
  const byExternalId = candidates.find((user) => externalId !== undefined && user.externalId === externalId);
  // Two people never become one: the actions of one would be attributed to the other.
  const belongsToAnother =
    byExternalId === undefined
      ? externalId !== undefined && byEmail?.externalId !== undefined
      : byEmail !== undefined && byEmail !== byExternalId;
  if (byEmail !== undefined && belongsToAnother) throw new UserConflict(byEmail.id);
  return byExternalId ?? byEmail;
}

/** A user for a person who was not known before. */
export function newUser(orgId: string, person: Person, now: Date): User {
  const { externalId, email, role = "member" } = person;
  return { orgId, id: newId("usr", now), externalId, email, role, status: "active", createdAt: now };
}

/** The user with the person's present data. A user that is registered again is active again. */
export function bringUpToDate(user: User, { externalId, email, role }: Person): User {
  return {
    ...user,
    externalId: externalId ?? user.externalId,
    email,
    role: role ?? user.role,
    status: "active",
  };
}

/** The fields of the user that differ, before and after; undefined if none does. */
export function changesBetween(before: User, after: User): Changes | undefined {
  const fields = ["externalId", "email", "role", "status"] as const;
  const changed = fields.filter((field) => before[field] !== after[field]);
  if (changed.length === 0) return undefined;
  return Object.fromEntries(
    changed.map((field) => [field, { before: before[field] ?? null, after: after[field] ?? null }]),
  );
}

/** Values before and after, by field. */
export type Changes = Readonly<
  Record<string, { readonly before: string | null; readonly after: string | null }>
>;
