import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  coversRights,
  permitsAll,
  permitsCall,
  permitsConnection,
  rightsProblem,
  type NamedConnection,
} from "#src/api-keys/connection-rights.ts";
import type { ConnectionRight } from "#src/platform/connection-right.ts";

const ledger: NamedConnection = { id: "scn_1", slug: "custom:ledger", tags: ["kyc"] };
const toLedger = (limits: Omit<ConnectionRight, "connection"> = {}): ConnectionRight => ({
  connection: { slug: "custom:ledger" },
  ...limits,
});
const mayGet = (rights: readonly ConnectionRight[], path: string) => permitsCall(rights, ledger, "GET", path);

describe("a key with a right to /v1", () => {
  const rights = [toLedger({ pathPrefixes: ["/v1"] })];

  test.each(["/v1", "/v1/", "/v1/customers/7", "/v1//x", "/v1/a%2Fb", "/v1/;x", "/v1/V2", "/v1/v1"])(
    "may call %s",
    (path) => expect(mayGet(rights, path)).toBe(true),
  );

  test.each([
    ...[
      "",
      "/",
      "/v10",
      "/v1.0",
      "/v",
      "/V1",
      "/v2",
      "/v2/v1",
      "v1",
      "v1/x",
      "//v1",
      "//v1/x",
      "/./v1",
      "/x/../v1",
    ],
    ...[
      "/%761",
      "/v%31",
      "/%76%31/x",
      "/v1%2f",
      "/v1%2Fx",
      "/v1;x",
      "/v1;/x",
      "/v1%3Bx/x",
      "/v1%20",
      "/v1 ",
      "/v1?x",
    ],
    ...[
      "/v1#x",
      "/v1/../v2",
      "/v1/./x",
      "/v1/..",
      "/v1/%2e%2e/v2",
      "/v1/.%2E/v2",
      "/v1/%252e%252e/v2",
      "/v1\\..\\v2",
    ],
    ...[
      "/v1/..;/v2",
      "/v1/..%3b/v2",
      "/v1/..%2fv2",
      "/v1/..%5cv2",
      "/v1%2f..%2fv2",
      "/v1/%c0%ae%c0%ae/v2",
      "/v1/%00",
    ],
    ...[
      "/v1/..%00/v2",
      "/v1/%",
      "/v1/%zz",
      "/\u{ff56}1",
      "/v1/\u{ff0e}\u{ff0e}/v2",
      "/v1/%ef%bc%8e%ef%bc%8e/v2",
    ],
    ...["/v1/%25252525252e%25252525252e/v2", "http://elsewhere.example/v1", "/v1\r\nx"],
  ])("may not call %j", (path) => expect(mayGet(rights, path)).toBe(false));
});

function resolved(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split("/").slice(1)) {
    if (segment === "..") segments.pop();
    else if (segment !== ".") segments.push(segment);
  }
  return `/${segments.join("/")}`;
}

/** Where a service may find itself that decodes, drops parameters, joins slashes and resolves dots, in any order. */
function readings(path: string): string[] {
  const steps = [
    (text: string) =>
      text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    (text: string) => text.replaceAll("\\", "/"),
    (text: string) => text.replace(/;[^/]*/g, ""),
    (text: string) => text.replace(/\/+/g, "/"),
    resolved,
  ];
  const found = new Set([path]);
  for (const one of found) {
    if (found.size > 200) break;
    for (const step of steps) found.add(step(one));
  }
  return [...found];
}

test("no path under a prefix can be read as one that is not, whatever a service decodes and resolves", () => {
  const piece = fc.constantFrom(
    ...[
      "/",
      "v1",
      "v2",
      ".",
      "..",
      ";",
      "%2e",
      "%2E",
      "%2f",
      "%5c",
      "%25",
      "%3b",
      "%76",
      "31",
      "x",
      "%00",
      "%c3%a9",
      "2f",
      "2e",
    ],
  );
  const path = fc.array(piece, { maxLength: 12 }).map((pieces) => `/v1${pieces.join("")}`);
  let permitted = 0;
  fc.assert(
    fc.property(path, (path) => {
      if (!mayGet([toLedger({ pathPrefixes: ["/v1"] })], path)) return;
      permitted += 1;
      for (const reading of readings(path)) expect(reading).toMatch(/^\/v1(?:\/|$)/);
    }),
    { numRuns: 3_000 },
  );
  expect(permitted).toBeGreaterThan(0);
});

describe("rights add up:", () => {
  const rights = [toLedger({ methods: ["GET"] }), toLedger({ methods: ["POST"], pathPrefixes: ["/drafts"] })];

  test.each([
    ["GET", "/any", true],
    ["POST", "/drafts/1", true],
    ["POST", "/any", false],
    ["PUT", "/drafts/1", false],
    ["get", "/any", false],
    ["HEAD", "/any", false],
  ])("%s %s: %s", (method, path, expected) => {
    expect(permitsCall(rights, ledger, method, path)).toBe(expected);
  });
});

test("no rights at all permit everything, and an empty list nothing", () => {
  const asked = [
    permitsConnection,
    permitsAll,
    (...[rights, one]: Parameters<typeof permitsAll>) => permitsCall(rights, one, "GET", "/"),
  ];
  for (const permits of asked) {
    expect(permits(undefined, ledger)).toBe(true);
    expect(permits([], ledger)).toBe(false);
  }
});

test.each<[string, ConnectionRight["connection"], boolean]>([
  ["its id", { id: "scn_1" }, true],
  ["its slug", { slug: "custom:ledger" }, true],
  ["one of its tags", { tag: "kyc" }, true],
  ["another id", { id: "scn_10" }, false],
  ["its slug in capitals", { slug: "custom:Ledger" }, false],
  ["its slug as an id", { id: "custom:ledger" }, false],
  ["its id as a slug", { slug: "scn_1" }, false],
  ["its slug as a tag", { tag: "custom:ledger" }, false],
  ["another tag", { tag: "ky" }, false],
])("a right by %s: %j names it: %s", (_, connection, expected) => {
  expect(permitsConnection([{ connection }], ledger)).toBe(expected);
});

test("a connection without a slug is not named by any slug", () => {
  const unnamed = { ...ledger, slug: undefined };
  expect(permitsConnection([{ connection: { slug: "undefined" } }], unnamed)).toBe(false);
});

describe("changing a connection takes a right to all of it:", () => {
  test.each([
    ["one without limits", [toLedger()], true],
    ["one without limits beside a limited one", [toLedger({ methods: ["GET"] }), toLedger()], true],
    ["one to every prefix that there is", [toLedger({ pathPrefixes: ["/v1"] })], false],
    [
      "some that add up to every method",
      [toLedger({ methods: ["GET"] }), toLedger({ methods: ["POST"] })],
      false,
    ],
  ])("%s", (_, rights, expected) => expect(permitsAll(rights, ledger)).toBe(expected));
});

const name = fc.constantFrom<ConnectionRight["connection"][]>(
  { id: "a" },
  { id: "b" },
  { slug: "a" },
  { slug: "b" },
  { tag: "a" },
  { tag: "b" },
);
const methods = fc.option(fc.uniqueArray(fc.constantFrom("GET", "POST", "PUT"), { minLength: 1 }), {
  nil: undefined,
});
const prefix = fc.constantFrom("/v1", "/v1/a", "/v1/a/b", "/v10", "/v2");
const pathPrefixes = fc.option(fc.uniqueArray(prefix, { minLength: 1, maxLength: 3 }), { nil: undefined });
const right: fc.Arbitrary<ConnectionRight> = fc
  .tuple(name, methods, pathPrefixes)
  .map(([connection, ofMethods, ofPaths]) => ({
    connection,
    ...(ofMethods && { methods: ofMethods }),
    ...(ofPaths && { pathPrefixes: ofPaths }),
  }));
const rightsOf = fc.option(fc.array(right, { maxLength: 4 }), { nil: undefined });

const one: readonly NamedConnection[] = ["a", "b"].flatMap((name) => [
  { id: name, slug: undefined, tags: [] },
  { id: "other", slug: name, tags: [] },
  { id: "other", slug: undefined, tags: [name] },
  { id: name, slug: name, tags: ["a", "b"] },
]);

/** All that can be asked of rights, with connections that have only one name, a method and paths beside the others. */
const questions = one.flatMap((connection) => [
  (rights: readonly ConnectionRight[] | undefined) => permitsConnection(rights, connection),
  (rights: readonly ConnectionRight[] | undefined) => permitsAll(rights, connection),
  ...["GET", "POST", "PUT", "PURGE"].flatMap((method) =>
    ["/v1", "/v1/a", "/v1/a/b/c", "/v1/ab", "/v10", "/v2/x", "/v3", ""].map(
      (path) => (rights: readonly ConnectionRight[] | undefined) =>
        permitsCall(rights, connection, method, path),
    ),
  ),
]);

test("whoever covers rights may do all that they permit", () => {
  fc.assert(
    fc.property(rightsOf, rightsOf, (held, wanted) => {
      fc.pre(coversRights(held, wanted));
      for (const permits of questions) expect(permits(wanted) && !permits(held)).toBe(false);
    }),
    { numRuns: 300, maxSkipsPerRun: 1_000 },
  );
});

test("of two rights, one covers the other exactly if it permits all that the other does", () => {
  fc.assert(
    fc.property(right, right, (held, wanted) => {
      const permitsMore = questions.some((permits) => permits([wanted]) && !permits([held]));
      expect(coversRights([held], [wanted])).toBe(!permitsMore);
    }),
    { numRuns: 1_000 },
  );
});

test("rights that only add up to one do not cover it, nor does a list cover the lack of one", () => {
  const parts = [toLedger({ pathPrefixes: ["/a"] }), toLedger({ pathPrefixes: ["/b"] })];
  expect(coversRights(parts, [toLedger({ pathPrefixes: ["/a", "/b"] })])).toBe(false);
  expect(coversRights([toLedger()], undefined)).toBe(false);
  expect(coversRights([], [])).toBe(true);
  expect(coversRights([], [toLedger()])).toBe(false);
  expect(coversRights(undefined, undefined)).toBe(true);
});

test("a right by a tag covers no right by a slug or an id, which may lose the tag, nor the other way round", () => {
  const names: ConnectionRight["connection"][] = [{ id: "x" }, { slug: "x" }, { tag: "x" }];
  for (const held of names) {
    for (const wanted of names) {
      expect(coversRights([{ connection: held }], [{ connection: wanted }])).toBe(held === wanted);
    }
  }
});

describe("what is no right is refused by its place:", () => {
  const prefixed = (pathPrefix: string): ConnectionRight => toLedger({ pathPrefixes: ["/ok", pathPrefix] });
  test.each<[string, ConnectionRight, string | undefined]>([
    ["a sibling's slug", { connection: { slug: "aml" } }, undefined],
    ["a slug in capitals", { connection: { slug: "AML" } }, "rights[1].slug: "],
    ["a slug with blanks", { connection: { slug: " aml" } }, "rights[1].slug: "],
    ["no slug", { connection: { slug: "" } }, "rights[1].slug: "],
    ["a wildcard", { connection: { slug: "custom:*" } }, "rights[1].slug: "],
    ["an id", { connection: { id: "scn_01M8JFZ5E6VSREB3XX8BE14KMH" } }, undefined],
    ["an id in lower case", { connection: { id: "scn_01m8jfz5e6vsreb3xx8be14kmh" } }, "rights[1].id: "],
    ["an id of something else", { connection: { id: "key_01M8JFZ5E6VSREB3XX8BE14KMH" } }, "rights[1].id: "],
    ["a prefix of dots and more", prefixed("/..x/.well-known/a.b@c"), undefined],
    ...[
      "v1",
      "",
      "/",
      "/v1/",
      "//v1",
      "/v1//x",
      "/..",
      "/v1/..",
      "/.",
      "/%761",
      "/v1;x",
      "/v1?x",
      "/v1 x",
      "/\u{e9}",
    ].map((path): [string, ConnectionRight, string] => [
      `the prefix ${JSON.stringify(path)}`,
      prefixed(path),
      "rights[1].pathPrefixes[1]: ",
    ]),
  ])("%s", (_, right, expected) => {
    const problem = rightsProblem([toLedger(), right]);
    expect(problem).toStrictEqual(expected === undefined ? undefined : expect.stringContaining(expected));
  });
});

test("a prefix that is taken is one that calls can be made to", () => {
  const taken = fc.stringMatching(/^(?:\/\.*[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)+$/);
  fc.assert(
    fc.property(taken, (path) => {
      const rights = [toLedger({ pathPrefixes: [path] })];
      expect(rightsProblem(rights)).toBeUndefined();
      expect([mayGet(rights, path), mayGet(rights, `${path}/x`), mayGet(rights, `${path}x`)]).toEqual([
        true,
        true,
        false,
      ]);
    }),
  );
});
