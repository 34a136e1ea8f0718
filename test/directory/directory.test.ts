import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type Presenter, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

interface UserJson {
  readonly id: string;
  readonly email: string;
  readonly status: string;
}

function newEmail(): string {
  return `${randomUUID()}@example.com`;
}

async function upsert(person: Record<string, unknown>, by: Presenter = service.org) {
  const reply = await by.rest("POST", "/api/users", person);
  expect([reply.status, reply.body.error]).toStrictEqual([201, undefined]);
  return reply.body.data as { created: boolean; user: UserJson };
}

/** What the audit log says of a user, oldest first. */
async function recorded(id: string) {
  const { events } = await service.org.client.audit.listAuditEvents({ target: id });
  return events.toReversed().map(({ action, details }) => ({ action, details }));
}

describe("registering a person", () => {
  test("answers 201 and an active user, and is recorded", async () => {
    const externalId = randomUUID();
    const email = newEmail();
    const { created, user } = await upsert({ externalId, email, role: "mlro" });
    expect(created).toBe(true);
    expect(user).toStrictEqual({
      id: expect.stringMatching(/^usr_[0-9A-Z]{26}$/) as string,
      externalId,
      email,
      role: "mlro",
      status: "active",
      createdAt: service.clock.now().toISOString(),
    });
    const found = await service.org.rest("GET", `/api/users/${user.id}`);
    expect([found.status, found.body]).toStrictEqual([200, { data: { user } }]);
    const details = { externalId, email, role: "mlro" };
    expect(await recorded(user.id)).toStrictEqual([{ action: "user.create", details }]);
  });

  test("again with the same values answers the same and leaves no second event", async () => {
    const person = { externalId: randomUUID(), email: newEmail(), role: "analyst" };
    const first = await upsert(person);
    expect(await upsert(person)).toStrictEqual({ created: false, user: first.user });
    // What is left out stays as it is.
    expect(await upsert({ email: person.email })).toStrictEqual({ created: false, user: first.user });
    expect(await recorded(first.user.id)).toHaveLength(1);
  });

  test("under an email that differs by its case finds the same user", async () => {
    const name = randomUUID();
    const { user } = await upsert({ email: `Ada.${name}@Example.COM` });
    expect(user.email).toBe(`ada.${name}@example.com`);
    const again = await upsert({ email: `ADA.${name.toUpperCase()}@example.com` });
    expect(again).toStrictEqual({ created: false, user });
  });

  test("by external id changes the email, and records before and after", async () => {
    const externalId = randomUUID();
    const [before, after] = [newEmail(), newEmail()];
    const { user } = await upsert({ externalId, email: before });
    const moved = await upsert({ externalId, email: after, role: "lead" });
    expect(moved).toMatchObject({ created: false, user: { id: user.id, email: after, role: "lead" } });
    expect((await recorded(user.id)).at(-1)).toStrictEqual({
      action: "user.update",
      details: { email: { before, after }, role: { before: "member", after: "lead" } },
    });
    // The address is free again, for somebody else.
    expect((await upsert({ email: before })).created).toBe(true);
  });

  test("by email gives an external id to a user who had none", async () => {
    const [externalId, email] = [randomUUID(), newEmail()];
    const { user } = await upsert({ email });
    expect(await upsert({ externalId, email })).toMatchObject({
      created: false,
      user: { id: user.id, externalId },
    });
  });

  test("never makes one user of two people", async () => {
    const [ada, bob] = [newEmail(), newEmail()];
    const first = await upsert({ externalId: `ada ${ada}`, email: ada });
    await upsert({ externalId: `bob ${bob}`, email: bob });
    const nameless = await upsert({ email: newEmail() });
    const thefts = [
      // Somebody new, and somebody known, with an email of another; and of one who has no external id.
      [{ externalId: randomUUID(), email: ada.toUpperCase() }, first.user.id],
      [{ externalId: `bob ${bob}`, email: ada }, first.user.id],
      [{ externalId: `bob ${bob}`, email: nameless.user.email }, nameless.user.id],
    ] as const;
    for (const [person, owner] of thefts) {
      const reply = await service.org.rest("POST", "/api/users", person);
      expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([409, "USER_CONFLICT"]);
      expect(reply.body.error).toContain(owner);
      await expect(service.org.client.directory.upsertUser(person)).rejects.toMatchObject({
        code: Code.AlreadyExists,
      });
    }
    expect((await recorded(first.user.id)).map(({ action }) => action)).toStrictEqual(["user.create"]);
  });

  test.each([
    ["none", undefined],
    ["an empty one", ""],
    ["no @", "ada.example.com"],
    ["two @", "ada@home@example.com"],
    ["NUL", "ada\0@example.com"],
    ["a line break", "ada@example.com\r\nbcc: all@example.com"],
    ["a space", "ada lovelace@example.com"],
    ["spaces around it", " ada@example.com "],
    ["a name beside it", "Ada <ada@example.com>"],
    ["300 characters", `${"a".repeat(288)}@example.com`],
    ["a megabyte of @", "@".repeat(1 << 20)],
    ["letters that have no ASCII lower case", "İstanbul@example.com"],
    ["half a character", "\ud800@example.com"],
  ])("with an email of %s is refused with 400, over REST and RPC", async (_, email) => {
    const rest = await service.org.rest("POST", "/api/users", { ...(email !== undefined && { email }) });
    expect([rest.status, rest.body.error]).toStrictEqual([400, expect.any(String)]);
    const rpc = service.org.client.directory.upsertUser({ ...(email !== undefined && { email }) });
    await expect(rpc).rejects.toMatchObject({ code: Code.InvalidArgument });
    expect(service.logged()).not.toContain("fault of ours");
  });

  test("any address that is accepted is found again in any case, as one user", async () => {
    const letters = fc.string({
      unit: fc.constantFrom(..."aBzZ09.!#$%&'*+/=?^_`{|}~-".split("")),
      minLength: 1,
      maxLength: 20,
    });
    await fc.assert(
      fc.asyncProperty(letters, async (local) => {
        const email = `${local}@example.com`;
        const { user } = await upsert({ email });
        const again = await upsert({ email: email.toUpperCase() });
        expect(again).toStrictEqual({ created: false, user });
      }),
      { numRuns: 25 },
    );
  });
});

describe("two at once", () => {
  test("under one email leave one user, and both succeed", async () => {
    for (let round = 0; round < 10; round++) {
      const email = newEmail();
      const answers = await Promise.all([upsert({ email }), upsert({ email: email.toUpperCase() })]);
      expect(answers.filter(({ created }) => created)).toHaveLength(1);
      expect(answers[0].user).toStrictEqual(answers[1].user);
      expect(await recorded(answers[0].user.id)).toHaveLength(1);
    }
  });

  test("under one external id leave one user, with an unbroken record", async () => {
    const externalId = randomUUID();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => upsert({ externalId, email: newEmail() })),
    );
    expect(new Set(answers.map(({ user }) => user.id)).size).toBe(1);
    const [made, ...updates] = await recorded(answers[0]!.user.id);
    const emails = updates.map(({ details }) => details!["email"] as { before: string; after: string });
    expect(emails.map(({ before }) => before)).toStrictEqual([
      made!.details!["email"],
      ...emails.slice(0, -1).map(({ after }) => after),
    ]);
  });

  test("registering and deactivating, record what each found", async () => {
    for (let round = 0; round < 10; round++) {
      const email = newEmail();
      const { user } = await upsert({ email });
      await Promise.all([
        upsert({ email, role: `role ${round}` }),
        service.org.rest("DELETE", `/api/users/${user.id}`),
      ]);
      const { body } = await service.org.rest("GET", `/api/users/${user.id}`);
      const actions = (await recorded(user.id)).map(({ action }) => action);
      expect(body.data.user).toMatchObject({
        role: `role ${round}`,
        status: actions.at(-1) === "user.deactivate" ? "deactivated" : "active",
      });
    }
  });
});

describe("deactivating a user", () => {
  test("twice answers the same and leaves one event; the user stays in the list", async () => {
    const { user } = await upsert({ email: newEmail() });
    const first = await service.org.rest("DELETE", `/api/users/${user.id}`);
    const second = await service.org.rest("DELETE", `/api/users/${user.id}`);
    expect(first.body).toStrictEqual({ data: { user: { ...user, status: "deactivated" } } });
    expect([first.status, second.status, second.body]).toStrictEqual([200, 200, first.body]);
    expect((await recorded(user.id)).map(({ action }) => action)).toStrictEqual([
      "user.create",
      "user.deactivate",
    ]);
    const { users } = await service.org.client.directory.listUsers({});
    expect(users.find(({ id }) => id === user.id)).toMatchObject({ status: "deactivated" });
  });

  test("unbinds its keys until the user is registered again", async () => {
    const { user } = await upsert({ email: newEmail() });
    const { secret } = await service.org.client.apiKeys.createApiKey({
      name: "bot",
      scopes: ["a:view"],
      actAsUserId: user.id,
    });
    const bot = service.as(secret).client.apiKeys;
    expect((await bot.whoAmI({})).effectiveUserId).toBe(user.id);
    await service.org.rest("DELETE", `/api/users/${user.id}`);
    expect((await bot.whoAmI({})).effectiveUserId).toBeUndefined();
    const again = await upsert({ email: user.email });
    expect(again).toStrictEqual({ created: false, user });
    expect((await recorded(user.id)).at(-1)).toStrictEqual({
      action: "user.update",
      details: { status: { before: "deactivated", after: "active" } },
    });
    expect((await bot.whoAmI({})).effectiveUserId).toBe(user.id);
  });

  test("cannot be undone by a key that is bound to that user", async () => {
    const { user } = await upsert({ email: newEmail() });
    const { secret } = await service.org.client.apiKeys.createApiKey({
      name: "bot",
      scopes: ["directory:write"],
      actAsUserId: user.id,
    });
    const bot = service.as(secret);
    await upsert({ email: user.email, role: "lead" }, bot);
    await service.org.rest("DELETE", `/api/users/${user.id}`);
    const reply = await bot.rest("POST", "/api/users", { email: user.email });
    expect([reply.status, reply.headers.get("x-error-reason")]).toStrictEqual([403, "SELF_MODIFICATION"]);
    // Nor by changing who it is first; others it may still register.
    const renamed = await bot.rest("POST", "/api/users", { email: user.email, externalId: randomUUID() });
    expect(renamed.status).toBe(403);
    await upsert({ email: newEmail() }, bot);
    expect((await bot.client.apiKeys.whoAmI({})).effectiveUserId).toBeUndefined();
  });
});

test("a user of another organisation looks like one that does not exist", async () => {
  const { user } = await upsert({ externalId: randomUUID(), email: newEmail() });
  const other = await service.newOrganization("globex");
  for (const method of ["GET", "DELETE"]) {
    const theirs = await other.rest(method, `/api/users/${user.id}`);
    const nobodys = await other.rest(method, "/api/users/usr_01ARZ3NDEKTSV4RRFFQ69G5FAV");
    expect([theirs.status, JSON.stringify(theirs.body)]).toStrictEqual([404, JSON.stringify(nobodys.body)]);
  }
  const bind = (actAsUserId: string) =>
    other.rest("POST", "/api/api-keys", { name: "k", scopes: ["a:view"], actAsUserId });
  const theirs = await bind(user.id);
  expect([theirs.status, theirs.body]).toStrictEqual([
    400,
    (await bind("usr_01ARZ3NDEKTSV4RRFFQ69G5FAV")).body,
  ]);
  expect((await other.client.directory.listUsers({})).users).toHaveLength(0);
  // The same person may work for both, and is somebody else there.
  const again = await upsert({ email: user.email }, other);
  expect(again.created).toBe(true);
  expect(again.user.id).not.toBe(user.id);
});

test("the list comes whole up to 1000, in pages if asked, oldest first", async () => {
  const org = await service.newOrganization("many");
  for (let n = 0; n < 5; n++) {
    service.clock.advance(1);
    await upsert({ email: `user-${n}@example.com` }, org);
  }
  const whole = await org.rest("GET", "/api/users");
  const users = whole.body.data.users as UserJson[];
  expect(users.map(({ email }) => email)).toStrictEqual([0, 1, 2, 3, 4].map((n) => `user-${n}@example.com`));
  expect(whole.body.data).not.toHaveProperty("nextPageToken");
  const paged: UserJson[] = [];
  let token = "";
  do {
    const { body } = await org.rest("GET", `/api/users?pageSize=2&pageToken=${token}`);
    paged.push(...(body.data.users as UserJson[]));
    token = (body.data.nextPageToken as string | undefined) ?? "";
  } while (token !== "");
  expect(paged).toStrictEqual(users);
  expect((await org.rest("GET", "/api/users?pageSize=1001")).status).toBe(400);
  expect((await org.rest("GET", "/api/users?pageToken=x")).status).toBe(400);
});
