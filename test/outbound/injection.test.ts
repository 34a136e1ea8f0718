import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Injection } from "#src/outbound/injection.ts";
import type { OutboundRequest } from "#src/outbound/outbound.ts";
import { localClient, response, startUpstream, type Upstream } from "./network.ts";

let upstream: Upstream;
let client: ReturnType<typeof localClient>;
beforeAll(async () => {
  upstream = await startUpstream(response("ok"));
  client = localClient();
});
afterAll(async () => {
  await client.close();
  await upstream[Symbol.asyncDispose]();
});

const nothing = { headers: {}, query: {}, cookies: {}, body: {}, secrets: [] };

/** Sends with a credential that puts this into the request: what the service saw. */
async function sent(injected: Partial<Injection>, request: Partial<OutboundRequest> = {}) {
  const before = upstream.received.length;
  const credential = { boundTo: upstream.origin, reveal: () => ({ ...nothing, ...injected }) };
  await client.get(upstream.origin, { credential, ...request });
  const [head = "", body = ""] = upstream.received.slice(before).split("\r\n\r\n", 2);
  const [line = "", ...fields] = head.split("\r\n");
  const [, target = ""] = line.split(" ");
  return {
    target,
    query: [...new URL(target, "http://x").searchParams],
    headers: fields.map((field) => field.toLowerCase()),
    body: Buffer.from(body, "latin1").toString(),
  };
}

describe("a header of the credential", () => {
  test.each(["X-Api-Key", "x_api_key", "X.API.KEY"])("takes the place of the caller's %s", async (name) => {
    const { headers } = await sent(
      { headers: { "x-api-key": "stored" } },
      { headers: { [name]: "mine", "x-other": "kept", connection: "x-api-key" } },
    );
    expect(headers.filter((field) => /^x.api.key:/.test(field))).toStrictEqual(["x-api-key: stored"]);
    expect(headers).toContain("x-other: kept");
  });

  test("also where it is one that we would set", async () => {
    const { headers } = await sent(
      { headers: { "user-agent": "stored", accept: "stored/1" } },
      { headers: { accept: "*/*" } },
    );
    expect(headers.filter((field) => /^(?:user-agent|accept):/.test(field)).toSorted()).toStrictEqual([
      "accept: stored/1",
      "user-agent: stored",
    ]);
  });
});

test("cookies of the credential are one header, and the caller's are none", async () => {
  const { headers } = await sent(
    { cookies: { session: "a=b", csrf: "c" } },
    { headers: { Cookie: "session=mine", cookie2: "mine" } },
  );
  expect(headers.filter((field) => field.startsWith("cookie"))).toStrictEqual([
    "cookie: session=a=b; csrf=c",
  ]);
});

test("headers that would make a service take another method are not sent", async () => {
  const names = ["X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "x_http_method_override"];
  const { headers } = await sent({}, { headers: Object.fromEntries(names.map((name) => [name, "DELETE"])) });
  expect(headers.join("\n")).not.toContain("delete");
});

describe("a query parameter of the credential", () => {
  test.each(["key", "KEY", "key[]", "key[a]", " key", "\u212aey"])(
    "takes the place of the caller's %s",
    async (name) => {
      const { query } = await sent(
        { query: { key: "st&red" } },
        { query: [[name, "mine"], ["q", "1"], [name, "again"], ["monkey", "2"]] }, // prettier-ignore
      );
      expect(query).toStrictEqual([
        ["q", "1"],
        ["monkey", "2"],
        ["key", "st&red"],
      ]);
    },
  );

  test.each(["api.key", "api key", "api[key", "API_KEY"])(
    "is not joined by the caller's %s either",
    async (name) => {
      const { query } = await sent({ query: { api_key: "stored" } }, { query: [[name, "mine"]] });
      expect(query).toStrictEqual([["api_key", "stored"]]);
    },
  );

  test("leaves the path's rules as they are", async () => {
    const refused = sent({ query: { key: "stored" } }, { path: "/a?key=mine" });
    await expect(refused).rejects.toMatchObject({ reason: "INVALID_PATH" });
    expect((await sent({ query: { key: "stored" } }, { path: "" })).target).toBe("/?key=stored");
  });
});

const json = { "content-type": "application/json" };
const form = { "content-type": "application/x-www-form-urlencoded" };

describe("a member of the credential", () => {
  test.each([
    ["into an empty object", " {} ", '{"token":"st\\"red"}'],
    [
      "behind what is there, which stays as it is spelled",
      '{ "id" : 9007199254740993.10 , "a":[1, {"token":1}]}',
      '{"id":9007199254740993.10,"a":[1, {"token":1}],"token":"st\\"red"}',
    ],
    ["in place of the caller's", '{"token":{"mine":[]},"b":true}', '{"b":true,"token":"st\\"red"}'],
    [
      "in place of the caller's in other letters",
      '{"TOKEN":"mine","\\u0074oken":"mine","b":"é"}',
      '{"b":"é","token":"st\\"red"}',
    ],
  ])("goes %s", async (_, body, expected) => {
    const request = { method: "POST", headers: json, body: Buffer.from(body) };
    expect((await sent({ body: { token: 'st"red' } }, request)).body).toBe(expected);
  });

  test.each(["application/json; charset=UTF-8", "application/vnd.api+json", "Application/JSON"])(
    "goes into %s",
    async (type) => {
      const request = { method: "POST", headers: { "Content-Type": type }, body: Buffer.from("{}") };
      expect((await sent({ body: { token: "stored" } }, request)).body).toBe('{"token":"stored"}');
    },
  );
});

describe("a form parameter of the credential", () => {
  test.each([
    ["into an empty form", "", "token=st%26red"],
    ["behind what is there", "a=1&b=%20+&c", "a=1&b=%20+&c&token=st%26red"],
    [
      "in place of the caller's",
      "token=mine&a=1&TOKEN=mine&%74oken=mine&token[]=mine&tokens=2&token",
      "a=1&tokens=2&token=st%26red",
    ],
  ])("goes %s", async (_, body, expected) => {
    const request = { method: "POST", headers: form, body: Buffer.from(body) };
    expect((await sent({ body: { token: "st&red" } }, request)).body).toBe(expected);
  });
});

test("a body of a mebibyte gets the credential without holding up other calls", async () => {
  const members = Array.from({ length: 60_000 }, (_, i) => `"m${i}":${i}`).join(",");
  const pairs = "a&".repeat(500_000);
  for (const [headers, text] of [
    [json, `{${members}}`],
    [form, pairs],
  ] as const) {
    let turns = 0;
    const counting = setInterval(() => turns++, 0);
    const { body } = await sent(
      { body: { token: "stored" } },
      { method: "POST", headers, body: Buffer.from(text) },
    );
    clearInterval(counting);
    expect(body).toMatch(/"token":"stored"\}$|&token=stored$/);
    expect(turns).toBeGreaterThan(3);
  }
});

describe("a body that the credential cannot go into safely is refused, and nothing is sent", () => {
  const cases: [string, Record<string, string>, string | Buffer | undefined][] = [
    ["none", json, undefined],
    ["text", { "content-type": "text/plain" }, "{}"],
    ["no type", {}, "{}"],
    ["two types", { "content-type": "application/json, text/plain" }, "{}"],
    ["several parts", { "content-type": "multipart/form-data; boundary=x" }, "--x--"],
    ["JSON in another charset", { "content-type": "application/json; charset=utf-16le" }, "{}"],
    ["a compressed one", { ...json, "content-encoding": "gzip" }, gzipSync("{}")],
    ["JSON that is no UTF-8", json, Buffer.from([0x7b, 0xff, 0x7d])],
    ["JSON behind a byte order mark", json, "\ufeff{}"],
    ["a list", json, "[]"],
    ["a text in JSON", json, '"a"'],
    ["JSON with a comment, in which the credential could end up", json, '{"a":1 /*}'],
    ["JSON with a text in single quotes", json, '{"a":\'}'],
    ["JSON with a member given twice", json, '{"a":1,"a":2}'],
    ["JSON that does not end", json, '{"a":"'],
    ["a form with a line break", form, "a=1\r\nb=2"],
    ["a form that is not encoded", form, "a=é"],
    ["one that is larger", json, `{"a":"${"x".repeat(1024 * 1024)}"}`],
  ];
  test.each(cases)("%s", async (_, headers, body) => {
    const before = upstream.received.length;
    const request = { method: "POST", headers, ...(body !== undefined && { body: Buffer.from(body) }) };
    await expect(sent({ body: { token: "stored-canary" } }, request)).rejects.toMatchObject({
      reason: "INVALID_OUTBOUND_REQUEST",
      kind: "invalid_argument",
      message: expect.stringMatching(/^body: (?!.*canary)/s) as string,
    });
    expect(upstream.received.length).toBe(before);
  });
});

const text = fc.string({
  unit: fc.constantFrom(
    "k",
    "K",
    "e",
    "y",
    "[",
    "]",
    "_",
    ".",
    "-",
    "=",
    "&",
    ";",
    "%",
    "+",
    '"',
    "\\",
    " ",
    "é",
  ),
});
const headerName = fc.oneof(
  fc.constantFrom("X_Key", "x.key", "X-KEY", "x~key", "cookie", "Cookie2"),
  fc.string({ minLength: 1, unit: fc.constantFrom("k", "e", "y", "-", "_", "x") }),
);
const key = "key";

test("nothing that a caller sends changes what the credential puts in, adds to it or comes after it", async () => {
  const asked = fc.record({
    names: fc.uniqueArray(headerName, { maxLength: 6, selector: (name) => name.toLowerCase() }),
    query: fc.array(fc.tuple(text, text), { maxLength: 6 }),
    members: fc.dictionary(text, fc.jsonValue(), { maxKeys: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(asked, async ({ names, query, members }) => {
      const injected = {
        headers: { "x-key": "stored" },
        query: { [key]: "stored" },
        cookies: { [key]: "stored" },
      };
      const seen = await sent(
        { ...injected, body: { [key]: "stored" } },
        {
          method: "POST",
          headers: {
            ...Object.fromEntries(names.map((name) => [name, "mine"])),
            "Content-Type": "application/json",
          },
          query,
          body: Buffer.from(JSON.stringify(members)),
        },
      );
      expect(seen.headers.filter((field) => /^x[^a-z0-9]key:/.test(field))).toStrictEqual(["x-key: stored"]);
      expect(seen.headers.filter((field) => field.startsWith("cookie:"))).toStrictEqual([
        "cookie: key=stored",
      ]);
      expect(seen.query.at(-1)).toStrictEqual([key, "stored"]);
      expect(seen.query.filter(([name]) => name.trim().toLowerCase() === key)).toHaveLength(1);
      const body = JSON.parse(seen.body) as Record<string, unknown>;
      const { [key]: member, ...others } = body;
      expect(member).toBe("stored");
      // What the caller sent is there as well, but for what is taken for the credential.
      for (const [name, value] of Object.entries(members)) {
        if (Object.hasOwn(others, name)) expect(JSON.stringify(others[name])).toBe(JSON.stringify(value));
        else expect(name).toMatch(/^\s*key\s*(?:\[.*)?$/is);
      }
    }),
    { numRuns: 300 },
  );
});

test("no value of a credential adds a parameter, a member or a line", async () => {
  await fc.assert(
    fc.asyncProperty(text, async (value) => {
      const members = { method: "POST", headers: json, body: Buffer.from('{"a":1}') };
      const seen = await sent({ query: { [key]: value }, body: { [key]: value } }, members);
      expect(seen.query).toStrictEqual([[key, value]]);
      expect(JSON.parse(seen.body)).toStrictEqual({ a: 1, [key]: value });
      const parameters = { method: "POST", headers: form, body: Buffer.from("a=1") };
      const { body } = await sent({ body: { [key]: value } }, parameters);
      expect([...new URLSearchParams(body)]).toStrictEqual([
        ["a", "1"],
        [key, value],
      ]);
    }),
    { numRuns: 200 },
  );
});
