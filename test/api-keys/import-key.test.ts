import fc from "fast-check";
import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { importedSecret } from "#src/api-keys/import-key.ts";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { reasonOf } from "#src/client/node.ts";
import { startService, type Presenter, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const day = 24 * 60 * 60 * 1000;
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

let count = 0;
/** A key that no other test has. */
const legacyKey = (prefix = "aml_") => `${prefix}${sha256(`${count++}`).slice(0, 32)}`;

/** What every import here says beside its key. */
const wanted = { name: "legacy", environment: "sandbox", scopes: ["a:view"] };

function importKey(fields: Record<string, unknown>, by: Presenter = service.org) {
  return by.rest("POST", "/api/api-keys/import", { ...wanted, ...fields });
}

/** Shows the key as clients do: its UTF-8, of which each byte is one character to `fetch`. */
async function present(key: string, to = service) {
  const authorization = `Bearer ${Buffer.from(key).toString("latin1")}`;
  const response = await fetch(`${to.url}/api/auth/me`, { headers: { authorization } });
  return {
    status: response.status,
    body: (await response.json()) as { data?: { apiKeyId: string; expiresAt?: string } },
  };
}

async function issue(fields: Record<string, unknown> = {}, by: Presenter = service.org) {
  const reply = await by.rest("POST", "/api/api-keys", { name: "k", scopes: ["a:view"], ...fields });
  expect(reply.status).toBe(201);
  return { id: reply.body.data.apiKey.id as string, ...service.as(reply.body.data.secret as string) };
}

describe("an imported key", () => {
  test.each(["qedi_", "bs_", "aml_"])(
    "%s… works from the import on, with what it was given",
    async (prefix) => {
      const key = legacyKey(prefix);
      // Also where it was refused a moment before: nobody remembers that.
      expect((await present(key)).status).toBe(401);
      const reply = await importKey({ key, scopes: ["a:view", "sar.write"], metadata: { team: "payments" } });
      expect(reply.status).toBe(201);
      expect(reply.body.data).toMatchObject({
        apiKey: {
          name: "legacy",
          kind: "imported",
          environment: "sandbox",
          scopes: ["a:view", "sar.write"],
          metadata: { team: "payments" },
          hint: `${key.slice(0, prefix.length + 4)}…`,
        },
        warnings: [],
      });
      const { status, body } = await present(key);
      expect([status, body.data]).toMatchObject([
        200,
        { apiKeyId: reply.body.data.apiKey.id as string, scopes: ["a:view", "sar.write"] },
      ]);
      const { events } = await service.org.client.audit.listAuditEvents({ target: body.data!.apiKeyId });
      expect(events).toMatchObject([
        { action: "api_key.import", apiKeyId: service.org.apiKeyId, details: { kind: "imported" } },
      ]);
    },
  );

  test.each([
    ["lower", (text: string) => text],
    ["upper", (text: string) => text.toUpperCase()],
  ])("may be given by its hash, in %s case, and is presented as itself", async (_, spelt) => {
    const key = legacyKey();
    const reply = await importKey({ sha256: spelt(sha256(key)) });
    expect(reply.body.data.apiKey.hint).toBe(`sha256:${sha256(key).slice(0, 8)}…`);
    expect((await present(key)).body.data?.apiKeyId).toBe(reply.body.data.apiKey.id);
    expect((await present(sha256(key))).status).toBe(401);
  });

  test("may be one of ours without check digits, such as an earlier deployment made", async () => {
    const key = `qe_sk_sandbox_${sha256("x").slice(0, 20)}_with_words`;
    const reply = await importKey({ key });
    expect([reply.status, reply.body.data.apiKey.hint]).toStrictEqual([201, `${key.slice(0, 18)}…`]);
    expect((await present(key)).status).toBe(200);
  });

  test("may be one of ours with check digits that this database does not know", async () => {
    const key = newApiKeySecret("sandbox");
    expect((await importKey({ key })).status).toBe(201);
    expect((await present(key)).status).toBe(200);
  });

  test("may hold any character that a header can, and is found whatever it holds", async () => {
    const text = fc
      .string({ unit: "grapheme", minLength: 16, maxLength: 60 })
      .filter((rest) => !/\p{Cc}|\s$/u.test(rest));
    await fc.assert(
      fc.asyncProperty(text, fc.boolean(), async (rest, byHash) => {
        const key = `bs_${count++}${rest}`;
        const reply = await importKey(byHash ? { sha256: sha256(key) } : { key });
        expect([reply.status, reply.body]).toStrictEqual([201, expect.anything()]);
        expect((await present(key)).body.data?.apiKeyId).toBe(reply.body.data.apiKey.id);
      }),
      { numRuns: 40, examples: [["the last byte is like a space: à", false]] },
    );
  });

  test.each([
    ["16 characters", legacyKey().slice(0, 16)],
    ["500 characters", legacyKey() + "x".repeat(464)],
    ["505 bytes", `aml_${"€".repeat(167)}`],
    ["spaces inside", "aml_correct horse  battery staple"],
  ])("may have %s", async (_, key) => {
    expect((await importKey({ key })).status).toBe(201);
    expect((await present(key)).status).toBe(200);
  });

  test("is changed, limited, rotated and revoked like any other", async () => {
    const key = legacyKey();
    const { body } = await importKey({ key, rateLimitPerMinute: 3 });
    const path = `/api/api-keys/${body.data.apiKey.id}`;
    const scopes = ["a:view", "b:view"];
    expect((await service.org.rest("PATCH", path, { scopes })).body.data.apiKey).toMatchObject({ scopes });
    const rotated = await service.org.rest("POST", `${path}/rotate`, { graceSeconds: 60 });
    const fresh = rotated.body.data.secret as string;
    expect(fresh).toMatch(/^qe_sk_sandbox_[A-Z2-7]{32}$/);
    // One budget for both of its secrets.
    const statuses = [];
    for (const secret of [key, fresh, key, fresh]) statuses.push((await present(secret)).status);
    expect(statuses).toStrictEqual([200, 200, 200, 429]);
    service.clock.advance(60_000);
    expect([(await present(key)).status, (await present(fresh)).status]).toStrictEqual([401, 200]);
    await service.org.rest("DELETE", path);
    expect((await present(fresh)).status).toBe(401);
  });

  test("ends, and stays within its addresses and its user, as the import said", async () => {
    const { user } = await service.org.client.directory.upsertUser({ email: "mlro@example.com" });
    const [key, elsewhere] = [legacyKey(), legacyKey()];
    const expiresAt = new Date(service.clock.now().getTime() + day);
    await importKey({ key, expiresAt: expiresAt.toISOString(), actAsUserId: user!.id });
    await importKey({ key: elsewhere, allowedCidrs: ["10.0.0.0/8"] });
    const { data } = (await present(key)).body;
    expect(data).toMatchObject({ effectiveUserId: user!.id });
    expect(new Date(data!.expiresAt!)).toStrictEqual(expiresAt);
    expect((await present(elsewhere)).status).toBe(403);
    service.clock.advance(day);
    expect((await present(key)).body).toStrictEqual({ error: "key expired" });
  });

  test("is given no more than the importer's own key grants, and wide live ones come with a warning", async () => {
    const manager = await issue({ scopes: ["api:manage", "a:view"] });
    const refused = await importKey({ key: legacyKey(), scopes: ["a:view", "a:write"] }, manager);
    expect([refused.status, refused.body]).toStrictEqual([403, { error: "missing scope: a:write" }]);
    expect((await importKey({ key: legacyKey() }, manager)).status).toBe(201);

    await using live = await startService({ environment: "live" });
    const fields = { key: legacyKey(), environment: "live", scopes: ["write"] };
    const wide = await importKey(fields, live.org);
    expect([wide.status, wide.body.data.warnings]).toStrictEqual([201, [expect.stringContaining("write")]]);
  });
});

describe("what cannot be imported is refused with 400, without being repeated", () => {
  const secret = "hunter2hunter2hunter2";

  test.each<[string, Record<string, unknown>, RegExp]>([
    ["a prefix that is none of the deployment's", { key: `other_${secret}` }, /aml_ or qe_sk_sandbox_ are looked up; .*--legacy-prefixes \(PATCHBAY_LEGACY_PREFIXES\)/], // prettier-ignore
    ["a prefix in another case", { key: `AML_${secret}` }, /qedi_ or bs_ or aml_/],
    ["a space before the prefix", { key: ` aml_${secret}` }, /key: has white space at its start/],
    [
      "a scheme before the prefix",
      { key: `Bearer aml_${secret}` },
      /key: leave out "Bearer ", .* give the key alone/,
    ],
    ["a whole header", { key: `\nauthorization:bearer  aml_${secret}` }, /key: leave out "Bearer "/],
    ["a line feed at the end", { key: `aml_${secret}\n` }, /white space at its end, such as a line break/],
    ["a form of ours without environment", { key: `qe_sk_${secret}` }, /are looked up/],
    ["a form of ours of an unknown environment", { key: `qe_sk_prod_${secret}` }, /are looked up/],
    ["a form of ours of the other environment", { key: `qe_sk_live_${secret}` }, /key: is live, and this deployment is sandbox; import it at the live one/], // prettier-ignore
    ["the other environment", { key: `aml_${secret}`, environment: "live" }, /environment: is live, and this deployment is sandbox; import it at the live one/], // prettier-ignore
    ["no environment", { key: `aml_${secret}`, environment: "" }, /environment/],
    ["an unknown environment", { key: `aml_${secret}`, environment: "prod" }, /environment/],
    ["NUL", { key: `aml_${secret}\0` }, /NUL/],
    ["a line feed", { key: `aml_${secret}\nx` }, /key: has control characters/],
    ["a tab", { key: `aml_${secret}\tx` }, /key: has control characters/],
    ["a control character beyond ASCII", { key: `aml_${secret}\x85x` }, /key: has control characters/],
    ["a space at the end", { key: `aml_${secret} ` }, /white space at its end/],
    ["a wide space at the end", { key: `aml_${secret}\u3000` }, /white space at its end/],
    ["half a surrogate pair", { key: `aml_${secret}\ud800` }, /surrogate/],
    ["15 characters", { key: "aml_hunter2hunt" }, /key: .*16/],
    ["501 characters", { key: `aml_${secret}`.padEnd(501, "x") }, /key: .*500/],
    ["506 bytes", { key: `aml_${"€".repeat(167)}x` }, /key: has more than 505 bytes/],
    ["neither key nor hash", {}, /^give one of key, sha256$/],
    [
      "both",
      { key: `aml_${secret}`, sha256: sha256(secret) },
      /^only one of "key" and "sha256" may be given$/,
    ],
    ["a hash of 63 digits", { sha256: sha256(secret).slice(1) }, /sha256/],
    ["a hash of 65 digits", { sha256: `${sha256(secret)}0` }, /sha256/],
    ["a hash and a line feed", { sha256: `${sha256(secret)}\n` }, /sha256/],
    ["a hash that is not hexadecimal", { sha256: "g".repeat(64) }, /sha256/],
    ["a key of the wrong type", { key: { secret } }, /key/],
    ["no scopes", { key: `aml_${secret}`, scopes: [] }, /scopes/],
    ["a scope that is none", { key: `aml_${secret}`, scopes: ["everything"] }, /"everything" is not a scope/],
    ["an end in the past", { key: `aml_${secret}`, expiresAt: "2020-01-01T00:00:00Z" }, /expiresAt/],
    ["an unknown user", { key: `aml_${secret}`, actAsUserId: "usr_nobody" }, /actAsUserId/],
    ["an address that is none", { key: `aml_${secret}`, allowedCidrs: ["10.0.0.0/33"] }, /allowedCidrs/],
    ["a caller service", { key: `aml_${secret}`, callerServiceSlug: "aml" }, /callerServiceSlug/],
  ])("%s", async (_, fields, message) => {
    const reply = await importKey(fields);
    expect([reply.status, reply.body]).toStrictEqual([
      400,
      { error: expect.stringMatching(message) as string },
    ]);
    expect(JSON.stringify(reply.body)).not.toContain("hunter2");
  });

  test("the prefixes are those that the operator names", async () => {
    await using other = await startService({ legacyPrefixes: ["old-"] });
    expect((await importKey({ key: legacyKey("aml_") }, other.org)).body.error).toMatch(
      /old- or qe_sk_sandbox_/,
    );
    const key = legacyKey("old-");
    expect((await importKey({ key }, other.org)).status).toBe(201);
    expect((await present(key, other)).status).toBe(200);
  });
});

describe("a key that is known already is refused with one and the same 409", () => {
  test.each<[string, (their: Presenter) => Promise<Record<string, unknown>>]>([
    ["imported by oneself", async () => known("key", "key")],
    ["imported by another organisation", async (their) => known("key", "key", their)],
    ["imported by its hash", async () => known("sha256", "key")],
    ["imported by its hash by another organisation", async (their) => known("sha256", "key", their)],
    ["imported by its hash, and again so", async () => known("sha256", "sha256")],
    ["and again so, by another organisation", async (their) => known("sha256", "sha256", their)],
    ["issued to oneself", async () => ({ key: (await issue()).secret })],
    ["issued to another organisation", async (their) => ({ key: (await issue({}, their)).secret })],
    [
      "revoked",
      async (their) => {
        const { id, secret } = await issue({}, their);
        await their.rest("DELETE", `/api/api-keys/${id}`);
        return { key: secret };
      },
    ],
    [
      "past its grace",
      async () => {
        const { id, secret } = await issue();
        await service.org.rest("POST", `/api/api-keys/${id}/rotate`, { graceSeconds: 0 });
        return { key: secret };
      },
    ],
  ])("%s", async (_, prepare) => {
    const fields = await prepare(await service.newOrganization("globex"));
    const reply = await importKey(fields);
    expect([reply.status, reply.headers.get("x-error-reason"), reply.body]).toStrictEqual([
      409,
      "KEY_ALREADY_IMPORTED",
      {
        error: "the key is known here already; if your organisation imported it, GET /api/api-keys lists it",
      },
    ]);
  });

  /** Imports a key in one form, and answers it in the other. */
  async function known(first: "key" | "sha256", second: "key" | "sha256", by?: Presenter) {
    const key = legacyKey();
    const forms = { key: { key }, sha256: { sha256: sha256(key) } };
    expect((await importKey(forms[first], by)).status).toBe(201);
    return forms[second];
  }

  test("and of many that import it at once, in two organisations, one gets it", async () => {
    const key = legacyKey();
    const other = await service.newOrganization("globex");
    const replies = await Promise.all(
      Array.from({ length: 20 }, (_, index) => importKey({ key }, index % 2 === 0 ? service.org : other)),
    );
    const won = replies.filter(({ status }) => status === 201);
    expect(won).toHaveLength(1);
    expect(
      new Set(replies.filter((reply) => !won.includes(reply)).map(({ status }) => status)),
    ).toStrictEqual(new Set([409]));
    expect((await present(key)).body.data?.apiKeyId).toBe(won[0]!.body.data.apiKey.id);
  });

  test("whoever gives the mere hash of a key takes nobody's, and revives none", async () => {
    const other = await service.newOrganization("globex");
    const theirs = await issue({}, other);
    const revoked = await issue({}, other);
    await other.rest("DELETE", `/api/api-keys/${revoked.id}`);
    const imported = legacyKey();
    const { body } = await importKey({ key: imported }, other);
    for (const key of [theirs.secret, revoked.secret, imported]) await importKey({ sha256: sha256(key) });
    service.clock.advance(10_000);
    expect((await present(theirs.secret)).body.data?.apiKeyId).toBe(theirs.id);
    expect((await present(revoked.secret)).status).toBe(401);
    expect((await present(imported)).body.data?.apiKeyId).toBe(body.data.apiKey.id);
  });
});

test("over gRPC it is the same method, with the same failures", async () => {
  const { apiKeys } = service.org.client;
  const key = legacyKey();
  const { apiKey } = await apiKeys.importKey({ ...wanted, presented: { case: "key", value: key } });
  expect((await present(key)).body.data?.apiKeyId).toBe(apiKey!.id);
  const again = apiKeys.importKey({ ...wanted, presented: { case: "sha256", value: sha256(legacyKey()) } });
  await expect(again).resolves.toBeDefined();
  const known = apiKeys.importKey({ ...wanted, presented: { case: "key", value: key } });
  expect(await known.then(undefined, reasonOf)).toBe("KEY_ALREADY_IMPORTED");
});

test("an imported key is in no answer, log line or column, however it is presented", async () => {
  await using own = await startService();
  const key = "aml_canary-0b5f4c1c9a7e43d2";
  const answers: unknown[] = [];
  const ask = async (method: string, path: string, body?: unknown) => {
    const reply = await own.org.rest(method, path, body);
    answers.push([[...reply.headers], reply.body]);
    return reply;
  };
  const ways = [{ key }, { key }, { sha256: sha256(key) }, { key: [key] }];
  for (const way of ways) await ask("POST", "/api/api-keys/import", { ...wanted, ...way });
  await ask("POST", "/api/api-keys/import", { ...wanted, key: `${key}\n` });
  await ask("POST", "/patchbay.apikeys.v1.ApiKeyService/ImportKey", { ...wanted, key: { key } });
  expect((await present(key, own)).status).toBe(200);
  const { body } = await ask("GET", "/api/api-keys");
  const kinds = (body.data.apiKeys as { kind: string }[]).map(({ kind }) => kind);
  expect(kinds.filter((kind) => kind === "imported")).toHaveLength(2);
  await ask("GET", "/api/audit/events");
  const dump = await own.postgres.asOwner(
    `select table_name, query_to_xml(format('select * from %I', table_name), false, true, '')::text as dump
     from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
  );
  const everywhere = JSON.stringify([answers, dump]) + own.logged();
  expect(everywhere.includes("api_key.import")).toBe(true);
  const traces = [key.slice(4), Buffer.from(key).toString("hex"), Buffer.from(key).toString("base64")];
  expect(traces.filter((trace) => everywhere.includes(trace))).toStrictEqual([]);
});

test("a key may hold marks of direction, and its hint shows none", async () => {
  const { status, body } = await importKey({ key: `aml_\u202ea \u2066${randomBytes(16).toString("hex")}` });
  expect([status, body.data.apiKey.hint]).toStrictEqual([201, "aml_\ufffda \ufffd…"]);
});

test("the hint of a key shows its prefix and at most four characters more, and leaves twelve unseen", () => {
  const prefixes = ["qedi_", "bs_", "aml_", `${"long-".repeat(6)}_`];
  const text = fc.tuple(
    fc.constantFrom(...prefixes, "qe_sk_sandbox_"),
    fc.string({ unit: "binary", minLength: 13, maxLength: 80 }).filter((rest) => !/\p{Cc}|\s$/u.test(rest)),
  );
  fc.assert(
    fc.property(text, ([prefix, rest]) => {
      const { stored } = importedSecret(
        { environment: "sandbox", presented: { case: "key", value: prefix + rest } },
        { environment: "sandbox", legacyPrefixes: prefixes },
        (secret) => Buffer.from(sha256(secret), "hex"),
        service.clock.now(),
      );
      const shown = stored.hint.slice(0, -1);
      expect(`${prefix}${rest}`.startsWith(shown)).toBe(true);
      expect(Array.from(shown).length).toBeLessThanOrEqual(prefix.length + 4);
      expect(Array.from(shown).length).toBeLessThanOrEqual(Array.from(prefix + rest).length - 12);
      expect(stored.hint.isWellFormed()).toBe(true);
    }),
  );
});
