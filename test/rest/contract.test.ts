import fc from "fast-check";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isObject } from "#src/json/object.ts";
import { damaged } from "../support/json-damage.ts";
import { jsonSchemasOf, type Json, type Schema } from "../support/json-schema.ts";
import { startService, type Presenter, type RestReply, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import {
  allowed,
  asReceived,
  isSendable,
  operationsOf,
  urlOf,
  type Operation,
  type Parts,
} from "./operations.ts";
import { unsayableRules, type Unsayable } from "./unsayable.ts";

const document = JSON.parse(readFileSync("gen/openapi.json", "utf8")) as Schema;
const schemas = jsonSchemasOf(document);
const operations = operationsOf(document, schemas).map((operation) => [operation.id, operation] as const);

let service: TestService;
let upstream: Upstream;
let rules: readonly Unsayable[];
/** What leads to a record that is there. */
let known: { readonly slug: string; readonly ids: Readonly<Record<string, string>> };
/** The secret of a key that may do nothing, and has no call left. */
let spent: string;

beforeAll(async () => {
  const oauthReturnOrigins = ["https://app.example"];
  [service, upstream] = await Promise.all([startService({ oauthReturnOrigins }), startUpstream()]);
  const { connections, directory, apiKeys, catalog } = service.org.client;
  const connected = async (serviceSlug: string) => {
    const wanted = { serviceSlug, baseUrl: upstream.url, apiKey: "k" };
    return (await connections.upsertServiceConnection(wanted)).connection!.id;
  };
  const slug = "custom:called";
  await connected(slug);
  const changed = await connected("custom:changed");
  await connected("aml");
  const { user } = await directory.upsertUser({ email: "mlro@bank.example" });
  const { apiKey } = await apiKeys.createApiKey({ name: "k", scopes: ["a:view"] });
  const aml = (await catalog.listServices({})).catalog.find((offer) => offer.slug === "aml")!;
  const { method, path } = aml.endpoints[0]!;
  const ids = {
    "api-keys": apiKey!.id,
    connections: changed,
    "service-connections": changed,
    users: user!.id,
  };
  known = { slug, ids };
  const endpoint = { serviceSlug: "aml", method, path };
  spent = (await apiKeys.createApiKey({ name: "spent", scopes: ["a:view"], rateLimitPerMinute: 1 })).secret;
  await service.as(spent).client.apiKeys.whoAmI({});
  rules = unsayableRules({ userId: user!.id, baseUrl: upstream.url, endpoint });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/** How many requests each rule is tried with. What starts a thread to read a document takes long. */
const runsOf = (operation: Operation, runs: number) =>
  /_(ImportOpenApi|PreviewImport)$/.test(operation.id) ? Math.ceil(runs / 6) : runs;

const definedSlug = fc.stringMatching(/^custom:defined-[a-z0-9]{1,9}$/);

/** Requests that the document allows and that keep the rules that it cannot say. */
function fitting(operation: Operation): fc.Arbitrary<Parts> {
  const id = operation.httpMethod === "DELETE" ? undefined : known.ids[operation.path.split("/")[2]!];
  return allowed(operation, schemas, (way) => {
    if (way === "path.id" && id !== undefined) return fc.constant(id);
    if (way === "body.service") return fc.constant(known.slug);
    // No name that a connection is drawn for: what is defined takes other auth methods than what is not.
    if (way === "path.slug" && /_(UpsertIntegration|ImportOpenApi|PreviewImport)$/.test(operation.id)) {
      return definedSlug;
    }
    if (way === "path.slug" && /Revisions?$/.test(operation.id)) return fc.constant("aml");
    if (way === "path.revision") return fc.constant(0);
    const fits = rules.filter((rule) => rule.way === way && rule.operations.test(operation.id));
    return fits.length === 0 ? undefined : fits[0]!.fits;
  });
}

/** Who may call it all. */
async function adminFor({ id }: Operation): Promise<Presenter> {
  const endsItsKey = id === "ApiKeyService_RevokeOwnApiKey";
  return endsItsKey ? service.newOrganization("once") : service.org;
}

/** The answer, which is looked at whatever it is. */
async function ask(caller: Presenter, operation: Operation, parts: Parts, headers?: Record<string, string>) {
  const reply = await caller.rest(operation.httpMethod, urlOf(operation, parts), parts.body, headers);
  expectDeclared(operation, reply);
  return reply;
}

function expectDeclared(
  { responses }: Pick<Operation, "responses">,
  { status, headers, body }: RestReply,
): void {
  const { headers: declared, content } = (responses[String(status)] ?? {}) as {
    headers?: Record<string, Schema>;
    content?: Record<string, { schema: Schema }>;
  };
  expect(Object.keys(responses)).toContain(String(status));
  expect(problemOf(content!["application/json"]!.schema)(body)).toBeUndefined();
  for (const [name, header] of Object.entries(declared!)) {
    if (schemas.resolve(header).required === true) expect(headers.has(name)).toBe(true);
  }
}

/** What has all fields of both, such as two of which only one may be given. */
function joinedBody({ body }: Parts, other: Parts): Partial<Parts> {
  return isObject(body) && isObject(other.body) ? { body: { ...body, ...other.body } } : {};
}

const compiled = new Map<Schema, (value: Json) => string | undefined>();

function problemOf(schema: Schema) {
  const known = compiled.get(schema) ?? schemas.problemOf(schema);
  compiled.set(schema, known);
  return known;
}

const refusalOf = ({ headers, body }: RestReply) => `${headers.get("x-error-reason")} ${body.error}`;

describe.each(operations)("%s", (_, operation) => {
  const headers = schemas
    .valid(operation.headers)
    .map((given) => given as Record<string, string>)
    .filter((given) => Object.values(given).every((text) => /^[\x20-\x7e]*$/.test(text)));

  test("takes what the document allows", async () => {
    await fc.assert(
      fc.asyncProperty(fitting(operation), headers, async (parts, given) => {
        const reply = await ask(await adminFor(operation), operation, parts, given);
        expect([reply.status, reply.status === 400 && refusalOf(reply)]).toEqual([
          // 429 is of the credential's own limit: how often a credential may be tried at one connection.
          expect.toBeOneOf([200, 201, 404, 409, ...(operation.id.endsWith("_CheckCredential") ? [429] : [])]),
          false,
        ]);
      }),
      { numRuns: runsOf(operation, 30) },
    );
  });

  test("refuses what the document does not allow", async () => {
    const isAllowed = problemOf(operation.request);
    const fits = fitting(operation);
    const joined = fc.tuple(fits, fits).map(([one, other]) => ({ ...one, ...joinedBody(one, other) }));
    const broken = fits.chain((parts) => damaged({ ...parts }) as unknown as fc.Arbitrary<Parts>);
    const wrong = fc
      .oneof({ arbitrary: broken, weight: 5 }, { arbitrary: joined, weight: 1 })
      .filter((parts) => isSendable(operation, parts))
      .filter((parts) => isAllowed(asReceived(operation, parts) as unknown as Json) !== undefined);
    await fc.assert(
      fc.asyncProperty(wrong, async (parts) => {
        expect((await ask(await adminFor(operation), operation, parts)).status).toBe(400);
      }),
      { numRuns: 40 },
    );
  });

  test("answers a key that is unknown, poor or spent as the document says", async () => {
    const [parts] = fc.sample(fitting(operation), 1);
    const unknown = await ask(service.as("qe_sk_sandbox_x"), operation, parts!);
    const limited = await ask(service.as(spent), operation, parts!);
    expect([unknown.status, limited.status]).toEqual([401, expect.toBeOneOf([403, 429])]);
  });
});

const named = operations.filter(([, { headers }]) => "Idempotency-Key" in (headers.properties as Schema));

test.each(named)("%s refuses an Idempotency-Key that the document does not allow", async (_, operation) => {
  const [parts] = fc.sample(fitting(operation), 1);
  const given = { "Idempotency-Key": "two words" };
  expect(problemOf(operation.headers)(given)).toBeDefined();
  const reply = await ask(await adminFor(operation), operation, parts!, given);
  expect([reply.status, reply.body.error]).toEqual([400, expect.stringMatching(/^idempotency-key: /)]);
});

describe("a page beside the operations", () => {
  const paths = document.paths as Record<string, Record<string, Schema>>;
  // What the proxy answers is the service's.
  const pages = Object.keys(paths).filter(
    (path) => !("x-patchbay-policy" in (Object.values(paths[path]!)[0] ?? {})) && !path.includes("/proxy/"),
  );

  test.each(pages)("%s answers as the document says", async (path) => {
    const reply = await service.org.rest("GET", path);
    expectDeclared(paths[path]!.get as Pick<Operation, "responses">, reply);
    expect(reply.status).toBe(200);
  });
});

test.each<[what: string, path: string, body: string, status: number, refusal: RegExp]>([
  [
    "how large it may be",
    "/api/api-keys/verify-batch",
    JSON.stringify({ requests: Array(100).fill({ key: "🙂".repeat(16_384) }) }),
    413,
    /^MESSAGE_TOO_LARGE the body is larger than 4194304 bytes/,
  ],
  [
    "how deep it may be",
    "/api/service-calls",
    `{"service":"aml","method":"POST","path":"/","json":${"[".repeat(100)}${"]".repeat(100)}}`,
    400,
    /^INVALID_REQUEST the body is nested more than 100 levels deep/,
  ],
  [
    "that doubles keep its numbers",
    "/api/service-calls",
    '{"service":"aml","method":"POST","path":"/","json":1e400}',
    400,
    /^INVALID_REQUEST field "json": a double does not keep this number exactly/,
  ],
])("of a whole body, no schema can say %s", async (_, path, body, status, refusal) => {
  const [, operation] = operations.find(([, candidate]) => candidate.path === path)!;
  expect(
    problemOf(operation.request)({ path: {}, query: {}, body: JSON.parse(body) as Json }),
  ).toBeUndefined();
  const response = await fetch(service.url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" },
    body,
  });
  const answer = (await response.json()) as { error: string };
  expect(response.status).toBe(status);
  expect(`${response.headers.get("x-error-reason")} ${answer.error}`).toMatch(refusal);
});

test("each rule that the document cannot say is one that the service keeps", async () => {
  for (const rule of rules) {
    const concerned = operations.filter(([id]) => rule.operations.test(id));
    expect([rule.way, concerned.length]).not.toEqual([rule.way, 0]);
    for (const [, operation] of concerned) {
      const isAllowed = problemOf(operation.request);
      const examples = fitting(operation)
        .map((parts) =>
          withAt(parts as unknown as Json, (rule.exampleAt ?? rule.way).split("."), rule.example),
        )
        .filter((parts) => isAllowed(parts) === undefined);
      const [parts] = fc.sample(examples, 1);
      const reply = await ask(service.org, operation, parts as unknown as Parts);
      expect(refusalOf(reply)).toMatch(rule.refusal);
    }
  }
});

/** The value with another one at the end of the way, which leads into the first item of a list. */
function withAt(value: Json | undefined, [name, ...rest]: readonly string[], end: Json): Json {
  if (name === undefined) return end;
  if (Array.isArray(value)) return [withAt(value[0], [name, ...rest], end)];
  const members = isObject(value) ? value : {};
  return { ...members, [name]: withAt(members[name], rest, end) };
}
