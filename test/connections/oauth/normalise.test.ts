import { describe, expect, test } from "vitest";
import { answerQuirks, normalise } from "#src/connections/oauth/normalise.ts";

const token = { access_token: "at", token_type: "bearer" };
const json = (body: unknown, status = 200) => ({
  status,
  contentType: "application/json",
  body: JSON.stringify(body),
});
const form = (body: string) => ({ status: 200, contentType: "application/x-www-form-urlencoded", body });

/** By quirk: an answer, and what it means where the integration admits it. */
const table: readonly (readonly [string, ReturnType<typeof json>, { status: number; body: object }])[] = [
  ["form_encoded_answer", form("access_token=at&token_type=bearer"), { status: 200, body: token }],
  [
    "form_encoded_answer_old_versions",
    form("access_token=at&token_type=bearer"),
    { status: 200, body: token },
  ],
  ["error_in_200", json({ error: "invalid_grant" }), { status: 400, body: { error: "invalid_grant" } }],
  ["error_in_200", json({ ok: false, error: "bad" }), { status: 400, body: { ok: false, error: "bad" } }],
  ["status_201", json(token, 201), { status: 200, body: token }],
  ["token_type_missing", json({ access_token: "at" }), { status: 200, body: token }],
  ["token_type_uncertain", json({ access_token: "at" }), { status: 200, body: token }],
  ["token_type_nonstandard", json({ access_token: "at", token_type: "bot" }), { status: 200, body: token }],
  ["scope_array", json({ ...token, scope: ["a", "b"] }), { status: 200, body: { ...token, scope: "a b" } }],
  ["scope_array_possible", json({ ...token, scope: ["a"] }), { status: 200, body: { ...token, scope: "a" } }],
  ["scope_null", json({ ...token, scope: null }), { status: 200, body: token }],
  ["refresh_token_null", json({ ...token, refresh_token: null }), { status: 200, body: token }],
  ["refresh_token_null", json({ ...token, refresh_token: "" }), { status: 200, body: token }],
  ["expires_in_null", json({ ...token, expires_in: null }), { status: 200, body: token }],
  ["expires_in_zero_means_never", json({ ...token, expires_in: 0 }), { status: 200, body: token }],
  [
    "scope_in_other_field",
    json({ ...token, permissions: "a" }),
    { status: 200, body: { ...token, permissions: "a", scope: "a" } },
  ],
  [
    "x_refresh_token_expires_in",
    json({ ...token, x_refresh_token_expires_in: 9 }),
    { status: 200, body: { ...token, x_refresh_token_expires_in: 9, refresh_token_expires_in: 9 } },
  ],
  [
    "error_shape_nonstandard",
    json({ error: { code: "invalid_grant", message: "gone" } }, 400),
    { status: 400, body: { error: "invalid_grant" } },
  ],
  [
    "error_shape_nonstandard",
    json({ errors: [{ type: "invalid_grant" }] }, 400),
    { status: 400, body: { error: "invalid_grant", errors: [{ type: "invalid_grant" }] } },
  ],
];

describe("an answer means what the integration admits of it", () => {
  test.each(table)("%s %#", (quirk, answer, meant) => {
    expect(normalise(answer, [quirk])).toEqual(meant);
  });

  test.each(table)("and without %s it stays what it is, %#", (quirk, answer, meant) => {
    expect(normalise(answer, [])).not.toEqual(meant);
    const others = answerQuirks.filter((name) => !sameEffect(name, quirk));
    expect(normalise(answer, others).body).not.toEqual(meant.status === answer.status ? meant.body : {});
  });

  test("every quirk has a row", () => {
    expect(new Set(table.map(([quirk]) => quirk))).toEqual(new Set(answerQuirks));
  });
});

/** Some names are of services that differ in how often they answer so, and not in what is done. */
function sameEffect(one: string, other: string): boolean {
  const stem = (name: string) => name.replace(/_old_versions|_possible|_uncertain|_missing/, "");
  return stem(one) === stem(other);
}

test("an answer that is normal is not changed by any quirk", () => {
  const answer = { ...token, scope: "a b", refresh_token: "rt", expires_in: 3600 };
  expect(normalise(json(answer), answerQuirks)).toEqual({ status: 200, body: answer });
});

test("a token that stands deeper is lifted, and one that is not there does not hide the upper one", () => {
  const nested = json({ ok: true, authed_user: { access_token: "user", token_type: "user" } });
  const tokenPath = {
    access_token: "/authed_user/access_token",
    refresh_token: "/authed_user/refresh_token",
  };
  expect(normalise(nested, [], tokenPath).body).toMatchObject({ access_token: "user" });
  expect(normalise(json(token), [], tokenPath).body).toEqual(token);
});

test("quirks work together: a lifted array under another name is joined", () => {
  const answer = json({ access_token: "at", scopes: ["a", "b"], refresh_token: null }, 201);
  const quirks = [
    "scope_array",
    "scope_in_other_field",
    "token_type_missing",
    "refresh_token_null",
    "status_201",
  ];
  const { status, body } = normalise(answer, quirks);
  expect({ status, body }).toMatchObject({ status: 200, body: { ...token, scope: "a b" } });
  expect(body).not.toHaveProperty("refresh_token");
});

test("who the person is at the service is dropped", () => {
  expect(normalise(json({ ...token, id_token: "e30.e30." }), []).body).toEqual(token);
});

test.each([
  ["HTML", { status: 200, contentType: "text/html", body: "<a href='?a=b'>" }],
  ["nothing", { status: 200, contentType: "", body: "" }],
  ["a JSON list", json([token])],
  ["a JSON text", json("at")],
])("%s is no answer, whatever the integration admits", (_, answer) => {
  expect(normalise(answer, answerQuirks).body).toBeUndefined();
});

test("members that objects have by themselves are not found in an answer", () => {
  expect(normalise(json(token), [], { refresh_token: "/constructor/name" }).body).toEqual(token);
});
