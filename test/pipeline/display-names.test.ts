import { getExtension, getOption, hasExtension, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  field as rulesOption,
  predefined,
  type FieldRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { display_name } from "#gen/patchbay/options/v1/rules_pb.js";
import { services } from "#src/client/services.ts";
import { displayNamePattern, displayNameRule } from "#src/platform/display-name.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const inputs = Object.values(services).flatMap(({ methods }) => methods.map(({ input }) => input));
const requests = new Set<DescMessage>();
for (const open = [...inputs]; open.length > 0;) {
  const message = open.pop()!;
  if (requests.has(message) || message.typeName.startsWith("google.protobuf.")) continue;
  requests.add(message);
  open.push(...message.fields.flatMap((field) => field.message ?? []));
}
const fields = [...requests].flatMap((message) => message.fields);

const hasRule = (rules: FieldRules | undefined) =>
  rules?.type.case === "string" &&
  hasExtension(rules.type.value, display_name) &&
  getExtension(rules.type.value, display_name);

const rulesOf = (field: DescField) => getOption(field, rulesOption);
/** What templates call it, of letters and digits, and what a foreign server calls it. */
const identifiers = [
  "field patchbay.integrations.v1.CredentialField.name",
  "field patchbay.events.v1.SourceParameter.name",
];
const isText = (field: DescField) =>
  field.fieldKind === "scalar" &&
  /(^|_)(name|title|label|role)s?$/.test(field.name) &&
  !identifiers.includes(String(field));
const isNotes = (field: DescField) =>
  field.fieldKind === "map" && /^(metadata|labels|tags|annotations)$/.test(field.name);

test("every field of a request by which people call something is held to the rule for that", () => {
  const texts = fields.filter(isText);
  const notes = fields.filter(isNotes);
  expect(texts.map(String)).toContain("field patchbay.apikeys.v1.CreateApiKeyRequest.name");
  expect(texts.filter((field) => !hasRule(rulesOf(field))).map(String)).toStrictEqual([]);
  const keysOf = ({ type }: FieldRules) => (type.case === "map" ? type.value.keys : undefined);
  expect(notes.length).toBeGreaterThan(0);
  expect(notes.filter((field) => !hasRule(keysOf(rulesOf(field)))).map(String)).toStrictEqual([]);
});

test("the rule of the contracts is the one of the code, in the same words", () => {
  const [rule] = getOption(display_name, predefined).cel;
  expect(rule).toMatchObject({
    message: displayNameRule,
    expression: `!rule || this.matches('${displayNamePattern}')`,
  });
});

type Ask = (name: string) => Promise<{ name: string; answer: { status: number; body: { error?: string } } }>;
const wanted = { name: "k", scopes: ["a:view"] };

/** Each field by which people call something. */
const asks: Record<string, Ask> = {
  "CreateApiKey name": async (name) => ({
    name: "name",
    answer: await service.org.rest("POST", "/api/api-keys", { ...wanted, name }),
  }),
  "CreateApiKey metadata": async (name) => ({
    name: "metadata: each name",
    answer: await service.org.rest("POST", "/api/api-keys", { ...wanted, metadata: { [name]: "v" } }),
  }),
  "ImportKey name": async (name) => ({
    name: "name",
    answer: await service.org.rest("POST", "/api/api-keys/import", {
      ...{ ...wanted, name, environment: "sandbox", key: `aml_${randomUUID()}` },
    }),
  }),
  "UpdateApiKey name": async (name) => ({
    name: "name",
    answer: await service.org.rest("PATCH", `/api/api-keys/${await newKey()}`, { name }),
  }),
  "UpdateApiKey metadata": async (name) => ({
    name: "metadata: each name",
    answer: await service.org.rest("PATCH", `/api/api-keys/${await newKey()}`, { metadata: { [name]: "v" } }),
  }),
  "UpsertUser role": async (role) => ({
    name: "role",
    answer: await service.org.rest("POST", "/api/users", { email: `${randomUUID()}@bank.example`, role }),
  }),
  "UpsertIntegration name": async (name) => ({ name: "name", answer: await define({ name }) }),
  "UpsertIntegration label of a method": async (label) => ({
    name: "authMethods[0].label",
    answer: await define({ label }),
  }),
  "UpsertIntegration label of a field": async (fieldLabel) => ({
    name: "authMethods[0].fields[0].label",
    answer: await define({ fieldLabel }),
  }),
};

/** An integration with these words. */
function define({ name = "Bank", label = "Key", fieldLabel = "Key" }) {
  const fields = [{ name: "key", label: fieldLabel, secret: true }];
  const method = { id: "key", type: "api_key", label, fields, inject: { headers: { "X-Key": "{key}" } } };
  return service.org.rest("PUT", "/api/integrations/custom:bank", { name, authMethods: [method] });
}

async function newKey(): Promise<string> {
  return (await service.org.client.apiKeys.createApiKey(wanted)).apiKey!.id;
}

describe.each(Object.entries(asks))("%s", (_, ask) => {
  test.each([
    "a\nb",
    "a\r\n",
    "\u2028a",
    "a\u0085",
    "a\u202eb",
    "\u200fa",
    "\u061c",
    "a\u2069",
    " ",
    "\u200b\u3000",
    "\u3164",
  ])("refuses %j", async (text) => {
    const { name, answer } = await ask(text);
    expect(answer.status).toBe(400);
    expect(answer.body.error).toContain(name);
    expect(answer.body.error).toContain(displayNameRule);
  });

  test.each(["nightly job", "می‌خواهم", "👩‍💻", " x "])("takes %j as it is", async (text) => {
    const { answer } = await ask(text);
    expect(answer.status).toBeOneOf([200, 201]);
    expect(JSON.stringify(answer.body)).toContain(JSON.stringify(text));
  });
});

test("it is the same over gRPC, and named in the details", async () => {
  const asking = service.org.client.apiKeys.createApiKey({ ...wanted, name: "a\u202eb" });
  await expect(asking).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: `name: ${displayNameRule}`,
  });
});

test("notes hold any text", async () => {
  const metadata = { runbook: "1. stop\n2. start\n\u202e" };
  const { apiKey } = await service.org.client.apiKeys.createApiKey({ ...wanted, metadata });
  expect(apiKey!.metadata).toStrictEqual(metadata);
});
