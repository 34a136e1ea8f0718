import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { DirectoryService } from "#gen/patchbay/directory/v1/directory_service_pb.js";
import type { UserSchema } from "#gen/patchbay/directory/v1/user_pb.js";
import { append, nothingToAudit } from "#src/audit/append.ts";
import { unchanged, type Database } from "#src/db/database.ts";
import type { Change } from "#src/audit/change.ts";
import { callerOf, callOf, type Caller } from "#src/platform/caller.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
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
export function createDirectory({ database, change, now }: DirectoryParts): Feature {
  return { services: [serve(DirectoryService, createDirectoryService({ database, change, now }))] };
}

interface DirectoryParts {
  readonly database: Database;
  readonly change: Change;
  readonly now: () => Date;
}

function createDirectoryService(parts: DirectoryParts): ServiceImpl<typeof DirectoryService> {
  const { database, change, now } = parts;
  return {
    async upsertUser(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const { orgId } = caller;
      const { externalId, role } = request;
      const person: Person = { externalId, email: request.email.toLowerCase(), role };
      const { created, user } = await change(call, async (tx) => {
        await lockDirectory(tx, orgId);
        const known = userOf(person, await findUsersForUpdate(tx, orgId, person));
        if (known === undefined) {
          const user = newUser(orgId, person, now());
          await insertUser(tx, user);
          await append(tx, call, { action: "user.create", target: user.id, details: detailsOf(user) });
          return { created: true, user };
        }
        refuseSelfReactivation(caller, known);
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
      const user = await change(call, async (tx) => {
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

/** After a deactivation, only another key may make the user of this key active again. */
function refuseSelfReactivation({ via }: Caller, user: User): void {
  if (user.status === "deactivated" && via.boundUserId === user.id) throw new SelfReactivation();
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
