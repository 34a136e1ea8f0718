import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  startDocumented,
  type DescribedOperation,
  type DocumentedServer,
  type Schema,
} from "../support/documented-server.ts";
import type { Json } from "../support/json-schema.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { everyWay } from "./every-way.ts";

let service: TestService;
let server: DocumentedServer;
let upstream: Upstream;
beforeAll(async () => {
  service = await startService();
  server = await startDocumented(everyWay);
  upstream = await startUpstream();
  await importInto("custom:documented");
  const connection = {
    serviceSlug: "custom:documented",
    baseUrl: server.url,
    apiKey: "the-services-own-key",
  };
  await service.org.client.connections.upsertServiceConnection(connection);
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

async function importInto(slug: string): Promise<void> {
  const value = Buffer.from(JSON.stringify(everyWay));
  const { revision } = await service.org.client.catalog.importOpenApi({
    slug,
    source: { case: "document", value },
  });
  expect(revision).toMatchObject({ operations: operations.length, problemCount: 0 });
}

const operations = Object.values(everyWay.paths).flatMap((methods): DescribedOperation[] =>
  Object.values(methods),
);

const call = (body: object) => service.org.rest("POST", "/api/actions/call", body);

/** Without line breaks and NUL, which no URL carries, and escapes, which may be meant as such. */
const anyText = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => !text.includes("%"));
/** Of what has a meaning somewhere, without dots: the label style cannot tell its own from those of a value. */
const segmentText = fc.stringMatching(/^[a-z][a-z /?#&=;,+é€-]{0,8}$/u);

/** With the prototype that objects have by JSON. */
function recordOf<T>(members: Record<string, fc.Arbitrary<T>>): fc.Arbitrary<Record<string, T>> {
  return fc.record(members, { noNullPrototype: true });
}

const base64 = fc.uint8Array({ maxLength: 20 }).map((data) => Buffer.from(data).toString("base64"));

function valuesOf(schema: Schema, ofText: fc.Arbitrary<string>): fc.Arbitrary<Json> {
  switch (schema.type) {
    case "string":
      return ofText;
    case "integer":
      return fc.integer();
    case "boolean":
      return fc.boolean();
    case "array":
      // Without what separates items in some styles.
      return fc.array(valuesOf(schema.items ?? {}, ofText.filter((text) => !/[ |]/.test(text))), { minLength: 1, maxLength: 3 }); // prettier-ignore
    case "object": {
      const members = Object.entries(schema.properties ?? {});
      return recordOf(Object.fromEntries(members.map(([name, one]) => [name, valuesOf(one, ofText)])));
    }
    default:
      if (schema.contentMediaType === undefined) return base64;
      return recordOf({
        filename: fc.stringMatching(/^[a-zé ]{1,9}$/u),
        contentType: fc.constantFrom("image/png", "text/csv"),
        data: base64,
      });
  }
}

/** Values for what the operation takes, in the form of an action's input. */
function inputOf(operation: DescribedOperation): fc.Arbitrary<Record<string, Json>> {
  const { parameters = [], requestBody } = operation;
  const places = ["path", "query", "header"].flatMap((place) => {
    const here = parameters.filter((one) => one.in === place);
    const ofText = place === "path" ? segmentText : anyText;
    const values = here.map(({ name, schema, content }) => [
      name,
      valuesOf(schema ?? content!["application/json"]!.schema, ofText),
    ]);
    return here.length === 0 ? [] : [[place, recordOf<Json>(Object.fromEntries(values))] as const];
  });
  const [media] = Object.values(requestBody?.content ?? {});
  const body = media && valuesOf(media.schema, anyText);
  return recordOf<Json>({ ...Object.fromEntries(places), ...(body && { body }) });
}

test.each(operations)("the service understands what $operationId was called with", async (operation) => {
  const { operationId } = operation;
  await fc.assert(
    fc.asyncProperty(inputOf(operation), async (input) => {
      const called = await call({ actionIdentifier: `custom:documented/${operationId}`, input });
      expect(called.body).toMatchObject({ data: { status: 200 } });
      expect(server.understood.at(-1)).toStrictEqual({
        operationId,
        path: {},
        query: {},
        header: {},
        ...input,
      });
    }),
    { numRuns: 10 },
  );
});

/** A connection to a server that says what it was asked, and its credential goes into the body. */
async function connectInBody(slug: string): Promise<string> {
  const method = {
    ...{ id: "own", type: "custom", label: "Its own", fields: [{ name: "key", secret: true }] },
    inject: { body: { token: "{key}" } },
  };
  const definition = { name: slug, authMethods: [method] };
  expect((await service.org.rest("PUT", `/api/integrations/${slug}`, definition)).body).toHaveProperty(
    "data",
  );
  const made = await service.org.rest("POST", "/api/connections", {
    ...{ integration: slug, serviceSlug: slug, authMethod: "own", baseUrl: upstream.url },
    credentials: { key: "the-services-own-key" },
  });
  expect(made.status).toBe(201);
  return slug;
}

test("a form is written again when it is tried again, with the credential in it", async () => {
  await importInto("custom:in-body");
  const slug = await connectInBody("custom:in-body");
  const answers = [{ status: 503, headers: { "retry-after": "0" } }, { status: 200 }];
  upstream.answer(() => answers.shift() ?? {});
  const input = {
    header: { "idempotency-key": "k" },
    body: { text: "a&b", token: "mine", whole: { R: 1, G: "é" } },
  };
  const called = await call({ actionIdentifier: `${slug}/form`, input });
  expect(called.body).toMatchObject({ data: { status: 200, attempts: 2 } });
  const sent = upstream.asked.map(({ headers, body }) => [
    headers["content-type"],
    ...new URLSearchParams(body),
  ]);
  const expected = [
    "application/x-www-form-urlencoded",
    ["text", "a&b"],
    ["whole", '{"R":1,"G":"é"}'],
    ["token", "the-services-own-key"],
  ];
  expect(sent).toStrictEqual([expected, expected]);
});

test("parts are the same when they are tried again", async () => {
  const connection = { integration: "custom:documented", authMethod: "bearer", baseUrl: upstream.url, credentials: { token: "t0ken" } }; // prettier-ignore
  const made = await service.org.rest("POST", "/api/connections", connection);
  expect(made.body).toMatchObject({ data: { connection: {} } });
  const answers = [{ status: 503, headers: { "retry-after": "0" } }, { status: 200 }];
  upstream.answer(() => answers.shift() ?? {});
  const before = upstream.asked.length;
  const called = await call({
    actionIdentifier: "custom:documented/parts",
    connectionId: made.body.data.connection.id,
    input: { header: { "idempotency-key": "k" }, body: { file: { data: "QQ==", filename: "a.png" } } },
  });
  expect(called.body).toMatchObject({ data: { status: 200, attempts: 2 } });
  const [first, second] = upstream.asked
    .slice(before)
    .map(({ headers, body }) => [headers["content-type"], body]);
  expect(second).toStrictEqual(first);
});
