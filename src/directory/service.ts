import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { DirectoryService } from "#gen/patchbay/directory/v1/directory_service_pb.js";
import type { UserSchema } from "#gen/patchbay/directory/v1/user_pb.js";
import { append, nothingToAudit } from "#src/audit/append.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import { callerOf, callOf, type Caller } from "#src/platform/caller.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import { SelfReactivation, UserNotFound } from "./errors.ts";
import {
  findUsersForUpdate,
  getUser,
  getUserForUpdate,
  insertUser,
  listUsers,
  lockDirectory,
  saveUser,
} from "./store.ts";
import { bringUpToDate, changesBetween, newUser, userOf, type Person, type User } from "./user.ts";

const defaultPageSize = 1000;

/** Keeps the people of organisations. See the contract, `directory_service.proto`. */
export function createDirectoryService(parts: {
  database: Database;
  /** The user that the caller's key is bound to, active or not. */
  boundUserOf: (tx: Tx, caller: Caller) => Promise<string | undefined>;
  now: () => Date;
}): ServiceImpl<typeof DirectoryService> {
  const { database, boundUserOf, now } = parts;

  /** Deactivation takes a key's person away, and only somebody else may give it back. */
  async function refuseSelfReactivation(tx: Tx, caller: Caller, user: User) {
    if (user.status === "deactivated" && (await boundUserOf(tx, caller)) === user.id) {
      throw new SelfReactivation();
    }
  }

  return {
    async upsertUser(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const { orgId } = caller;
      const { externalId, role } = request;
      const person: Person = { externalId, email: request.email.toLowerCase(), role };
      const { created, user } = await database.change(orgId, async (tx) => {
        await lockDirectory(tx, orgId);
        const known = userOf(person, await findUsersForUpdate(tx, orgId, person));
        if (known === undefined) {
          const user = newUser(orgId, person, now());
          await insertUser(tx, user);
          await append(tx, call, { action: "user.create", target: user.id, details: detailsOf(user) });
          return { created: true, user };
        }
        await refuseSelfReactivation(tx, caller, known);
        const user = bringUpToDate(known, person);
        const changes = changesBetween(known, user);
        if (changes === undefined) {
          nothingToAudit(call);
          return unchanged({ created: false, user });
        }
        await saveUser(tx, user);
        await append(tx, call, { action: "user.update", target: user.id, details: changes });
        return { created: false, user };
      });
      return { created, user: toMessage(user) };
    },

    async getUser({ id }, context) {
      const { orgId } = callerOf(context);
      const user = await database.read(orgId, (tx) => getUser(tx, orgId, id));
      if (user === undefined) throw new UserNotFound();
      return { user: toMessage(user) };
    },

    async listUsers(request, context) {
      const { orgId } = callerOf(context);
      const page = await database.read(orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listUsers(tx, orgId, rows),
          (user) => user.id,
        ),
      );
      return {
        users: page.items.map(toMessage),
        ...nextPage(page),
      };
    },

    async deactivateUser({ id }, context) {
      const call = callOf(context);
      const { orgId } = callerOf(context);
      const user = await database.change(orgId, async (tx) => {
        const known = await getUserForUpdate(tx, orgId, id);
        if (known === undefined) throw new UserNotFound();
        if (known.status === "deactivated") {
          nothingToAudit(call);
          return unchanged(known);
        }
        const user: User = { ...known, status: "deactivated" };
        await saveUser(tx, user);
        await append(tx, call, { action: "user.deactivate", target: id, details: { email: user.email } });
        return user;
      });
      return { user: toMessage(user) };
    },
  };
}

function detailsOf({ externalId, email, role }: User) {
  return { externalId: externalId ?? null, email, role };
}

function toMessage(user: User): MessageInitShape<typeof UserSchema> {
  return {
    id: user.id,
    ...(user.externalId !== undefined && { externalId: user.externalId }),
    email: user.email,
    role: user.role,
    status: user.status,
    createdAt: timestampFromDate(user.createdAt),
  };
}
