import fc from "fast-check";
import { bankDocument } from "../support/bank-document.ts";
import type { Json } from "../support/json-schema.ts";

/** A rule of the service that no JSON Schema can say. */
export interface Unsayable {
  readonly operations: RegExp;
  /** The names of the properties on the way to what the rule is about, items of lists being on it unnamed. */
  readonly way: string;
  /** Where the example goes, if not there. */
  readonly exampleAt?: string;
  readonly because: string;
  /** What the document allows and the service refuses, and with which reason and text. */
  readonly example: Json;
  readonly refusal: RegExp;
  /** What both take. */
  readonly fits: fc.Arbitrary<Json>;
}

/** What the service in the test has. */
export interface Present {
  readonly userId: string;
  readonly baseUrl: string;
  readonly endpoint: Json;
}

/** Every one of them. A rule that a schema can say belongs there instead. */
export function unsayableRules({ userId, baseUrl, endpoint }: Present): Unsayable[] {
  const keys = /_(Create|Import|Update)(Api)?Key$/;
  const time = "it depends on what the time is";
  const stored = "it depends on what is stored";
  const grammar = "its grammar is beyond a regular expression that people could read";
  const deployment = "it depends on how the service is deployed";
  const catalog = "it depends on what the catalog has";
  const basic = { authMethod: "basic", credentials: { username: "u", password: "p" } };
  const hookUrl = "https://shop.example/hooks/";
  const names = Array.from({ length: 50 }, (_, i) => `m${i}`);
  const fitting = fc.record({ path: fc.constant({ id: "sar_1" }), header: fc.constant({ "x-a": "b" }) });
  return [
    {
      operations: keys,
      way: "body.expiresAt",
      because: time,
      example: "2001-02-03T04:05:06Z",
      refusal: /^INVALID_REQUEST expiresAt: lies in the past/,
      fits: fc
        .date({
          min: new Date("2100-01-01T00:00:00Z"),
          max: new Date("9998-01-01T00:00:00Z"),
          noInvalidDate: true,
        })
        .map((date) => date.toISOString()),
    },
    {
      operations: keys,
      way: "body.actAsUserId",
      because: stored,
      example: "usr_of_nobody",
      refusal: /^UNKNOWN_USER /,
      fits: fc.constant(userId),
    },
    {
      operations: keys,
      way: "body.allowedCidrs",
      because: grammar,
      example: ["1.2.3/8"],
      refusal: /^INVALID_REQUEST allowedCidrs: /,
      fits: fc.array(fc.constantFrom("10.0.0.0/8", "192.0.2.7", "2001:db8::/32"), { maxLength: 100 }),
    },
    {
      operations: /_ImportKey$/,
      way: "body.environment",
      because: deployment,
      example: "live",
      refusal: /^INVALID_REQUEST environment: is live, and this deployment is sandbox/,
      fits: fc.constant("sandbox"),
    },
    {
      operations: /_ImportKey$/,
      way: "body.key",
      because: deployment,
      example: "of_an_unknown_system",
      refusal: /^INVALID_REQUEST key: only keys that begin with /,
      fits: fc.stringMatching(/^aml_[A-Za-z0-9]{16,64}$/),
    },
    {
      operations: /_VerifyKey$/,
      way: "body.endpoint",
      because: catalog,
      example: { serviceSlug: "aml", method: "GET", path: "/nowhere" },
      refusal: /^INVALID_REQUEST endpoint: the catalog names no such endpoint/,
      fits: fc.constant(endpoint),
    },
    {
      operations: /_VerifyKeys$/,
      way: "body.requests.endpoint",
      because: catalog,
      example: { serviceSlug: "aml", method: "GET", path: "/nowhere" },
      refusal: /^INVALID_REQUEST endpoint: the catalog names no such endpoint/,
      fits: fc.constant(endpoint),
    },
    {
      operations: /_ValidateReferences$/,
      way: "body.references",
      because: "members of objects are counted over the whole body",
      example: Array<Json>(200).fill({ input: { query: Object.fromEntries(names.map((a) => [a, 1])) } }),
      refusal: /^INVALID_REQUEST the body has more than 10000 members of objects/,
      fits: fc.array(
        fc.record({ service: fc.string({ maxLength: 99 }), operation: fc.string(), input: fitting }),
        { minLength: 1, maxLength: 20 },
      ),
    },
    {
      operations: /_ListEvents$/,
      way: "query.types",
      because: "it depends on which log is asked for",
      example: ["order.paid"],
      refusal: /^INVALID_REQUEST types: "order\.paid" selects nothing of the logs asked for/,
      fits: fc.array(fc.constant("*"), { maxLength: 3 }),
    },
    {
      operations: /_CreateEventGroup$/,
      way: "body.types",
      because: "it depends on which log is asked for",
      example: ["order.paid"],
      refusal: /^INVALID_REQUEST types: "order\.paid" selects nothing of the logs asked for/,
      fits: fc.array(fc.constant("*"), { maxLength: 3 }),
    },
    {
      operations: /_(CreateEventGroup|SeekEventGroup|ResumeWebhookEndpoint)$/,
      way: "body.since",
      ...noYearZero("since"),
    },
    { operations: /_ListAuditEvents$/, way: "query.since", ...noYearZero("since") },
    { operations: /_ListAuditEvents$/, way: "query.until", ...noYearZero("until") },
    {
      operations: /_StartAuthorization$/,
      way: "body.returnTo",
      because: deployment,
      example: "https://elsewhere.example/done",
      refusal: /^INVALID_REQUEST returnTo: give a URL of an origin in PATCHBAY_OAUTH_RETURN_ORIGINS/,
      fits: fc.constant("https://app.example/done"),
    },
    {
      operations: /_(ImportOpenApi|PreviewImport)$/,
      way: "body",
      because: "a document is more than bytes",
      example: { document: Buffer.from("no document").toString("base64") },
      refusal: /^IMPORT_REFUSED /,
      fits: fc.constant({ document: bankDocument("GET /accounts").toString("base64") }),
    },
    {
      operations: /_List|_GetService$|_GetRevision$/,
      way: "query.pageToken",
      because: stored,
      example: "made-up",
      refusal: /^INVALID_REQUEST pageToken: not one that this list issued/,
      fits: fc.constant(""),
    },
    {
      operations: /_VerifyAudit$/,
      way: "query",
      because: "OpenAPI cannot say that a parameter needs another one",
      example: { "known.seq": "1" },
      refusal: /^INVALID_REQUEST known.hash: /,
      fits: fc.oneof(...["known", "after"].map(headAt), fc.constant({})),
    },
    {
      operations: /_VerifyAudit$/,
      way: "query",
      because: "a regular expression for numbers up to 2^63 would be longer than people read",
      example: { "after.seq": "9".repeat(19), "after.hash": "0".repeat(64) },
      refusal: /^INVALID_REQUEST field "after.seq" must be an integer \(int64\)/,
      fits: fc.oneof(...["known", "after"].map(headAt), fc.constant({})),
    },
    {
      operations: /_(UpsertService|Update|Create)Connection/,
      way: "body.baseUrl",
      because: grammar,
      example: "https://bank..example",
      refusal: /^INVALID_BASE_URL /,
      fits: fc.constant(baseUrl),
    },
    {
      operations: /_(UpsertService|Update|Create)Connection/,
      way: "body.baseUrl",
      because: deployment,
      example: "http://10.0.0.1",
      refusal: /^ADDRESS_DENIED /,
      fits: fc.constant(baseUrl),
    },
    {
      operations: /_(Create|Update)WebhookEndpoint$/,
      way: "body.url",
      because: grammar,
      example: "https://shop..example",
      refusal: /^INVALID_REQUEST url: the host name or the port is not valid/,
      fits: fc.constant(hookUrl),
    },
    {
      operations: /_(Create|Update)WebhookEndpoint$/,
      way: "body.url",
      because: deployment,
      example: "http://shop.example/hooks",
      refusal: /^INVALID_REQUEST url: give an https:\/\/ URL; http:\/\/ is for hosts only/,
      fits: fc.constant(hookUrl),
    },
    {
      operations: /_(Create|Update)WebhookEndpoint$/,
      way: "body.headers",
      because: "a schema cannot compare names, nor tell headers by what they are for",
      example: { "Webhook-Signature": "v1,x" },
      refusal: /^INVALID_REQUEST headers.Webhook-Signature: frames or signs the delivery/,
      fits: fc.constantFrom<Json>({}, { authorization: "Bearer x" }),
    },
    {
      operations: /_UpsertServiceConnection$/,
      way: "body.serviceSlug",
      because: catalog,
      exampleAt: "body",
      example: { serviceSlug: "bank-statement", baseUrl },
      refusal: /^CREDENTIAL_REQUIRED the catalog names no scopes for bank-statement/,
      fits: fc.oneof(
        fc.constantFrom("aml", "identity"),
        fc.stringMatching(/^custom:[a-z0-9][a-z0-9-]{0,62}$/),
      ),
    },
    {
      operations: /_UpdateConnection/,
      way: "body",
      because: stored,
      example: { baseUrl: "https://elsewhere.example" },
      refusal: /^CREDENTIAL_REQUIRED /,
      fits: fc.record(
        {
          baseUrl: fc.constant(baseUrl),
          apiKey: fc.constant("k"),
          active: fc.boolean(),
          name: fc.constantFrom("Ledger", null),
          tags: fc.uniqueArray(fc.constantFrom("a", "b"), { maxLength: 2 }),
          metadata: fc.constant({ ticket: "PAY-7" }),
          visibility: fc.constant("org"),
        },
        { requiredKeys: [] },
      ),
    },
    {
      operations: /_UpsertIntegration$/,
      way: "body",
      because:
        "its members are about one another: names that templates ask for, hosts, patterns and examples",
      example: { name: "Bank", authMethods: [{ id: "key", type: "api_key", label: "Key", inject: {} }] },
      refusal: /^INVALID_REQUEST authMethods\[0\].inject: say where the credential goes/,
      fits: definition,
    },
    {
      operations: /_UpdateConnection/,
      way: "body",
      because: stored,
      example: { credentials: { nonsense: "x" } },
      refusal: /^INVALID_REQUEST nonsense: is not asked for/,
      fits: fc.constant({ active: true }),
    },
    {
      operations: /_UpsertServiceConnection$/,
      way: "body.auth",
      because: catalog,
      exampleAt: "body",
      example: { serviceSlug: "custom:undefined", baseUrl, auth: { authMethod: "kerberos" } },
      refusal: /^INVALID_REQUEST authMethod: custom:undefined has bearer, basic, api-key/,
      fits: fc.constant(basic),
    },
    {
      operations: /_CreateConnection$/,
      way: "body",
      because: catalog,
      example: { integration: "nowhere", authMethod: "basic" },
      refusal: /^UNKNOWN_INTEGRATION /,
      fits: fc.record(
        {
          ...{ integration: fc.constant("custom:ledger"), authMethod: fc.constant(basic.authMethod) },
          ...{ baseUrl: fc.constant(baseUrl), credentials: fc.constant(basic.credentials) },
          name: fc.constant("Ledger"),
          tags: fc.uniqueArray(fc.constantFrom("a", "b"), { maxLength: 2 }),
          metadata: fc.constant({ ticket: "PAY-7" }),
          visibility: fc.constant("org"),
          serviceSlug: fc.stringMatching(/^custom:[a-z0-9][a-z0-9-]{0,62}$/),
          verify: fc.boolean(),
        },
        { requiredKeys: ["integration", "authMethod", "baseUrl", "credentials"] },
      ),
    },
    {
      operations: /_CheckCredential$/,
      way: "body",
      because: stored,
      example: { credentials: { nonsense: "x" } },
      refusal: /^INVALID_REQUEST credentials: bearer has token/,
      fits: fc.constantFrom({ apiKey: "k" }, { credentials: { token: "k" } }),
    },
    {
      operations: /_CallService$/,
      way: "body.path",
      because: "a regular expression that all tools read cannot exclude a segment",
      example: "/a/../b",
      refusal: /^INVALID_PATH /,
      fits: fc.stringMatching(/^(?:\/[A-Za-z0-9_~-]{1,9}){1,5}$/),
    },
    {
      operations: /_CallAction$/,
      way: "body",
      because: catalog,
      example: { actionIdentifier: "aml/submitSarFiling", input: {} },
      refusal: /^INVALID_INPUT input: \/path\/id is missing/,
      fits: fc.record({ actionIdentifier: fc.constant("aml/submitSarFiling"), input: fitting }),
    },
    {
      operations: /_CallAction$/,
      way: "body.connectionId",
      exampleAt: "body",
      because: stored,
      example: { actionIdentifier: "aml/POST /api/sar-filings/{id}/submit", service: "custom:called" },
      refusal: /^INVALID_REQUEST service: scn_\w+ is a connection of custom:called; name one of aml/,
      fits: fc.constant("scn_missing"),
    },
    {
      operations: /_PlanCall$/,
      way: "body",
      because: "a schema cannot compare names",
      example: { service: "custom:called", method: "GET", headers: { "x-once": "1", "X-Once": "2" } },
      refusal: /^INVALID_OUTBOUND_REQUEST headers.X-Once: given twice, in different letter case/,
      fits: fc.oneof(
        fc.record({ actionIdentifier: fc.constant("aml/submitSarFiling"), input: fitting }),
        fc.record(
          {
            service: fc.constantFrom("aml", "custom:called"),
            method: fc.constantFrom("GET", "POST"),
            path: fc.constantFrom("", "/x"),
            query: fc.constant<Json>({ a: [1, "b", true] }),
            headers: fc.constant({ "x-a": "b" }),
            json: fc.jsonValue() as fc.Arbitrary<Json>,
          },
          { requiredKeys: ["service", "method"] },
        ),
      ),
    },
    {
      operations: /_CallService$/,
      way: "body.headers",
      because: "a schema cannot compare names",
      example: { "x-once": "1", "X-Once": "2" },
      refusal: /^INVALID_OUTBOUND_REQUEST headers.X-Once: given twice, in different letter case/,
      fits: fc.dictionary(
        fc.stringMatching(/^[!#$%&'*+.^_`|~0-9a-z-]+$/),
        fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]*$/),
      ),
    },
    {
      operations: /_CreateChannel$/,
      way: "body",
      because: "which secret fits depends on how the sender proves itself",
      example: { name: "x", webhook: {}, receiver: { authentication: "basic" }, secret: "no-password" },
      refusal: /^INVALID_REQUEST secret: give it as name:password/,
      fits: fc.oneof(
        channel(
          "webhook",
          ["", "signature", "token", "basic"],
          ["name:password", "sender:secret-of-many-words"],
        ),
        channel("cloudEvents", ["", "bearer", "none"], []),
      ),
    },
  ];
}

/** A channel whose senders may be known in any of these ways, by any of these secrets. */
function channel(source: string, authentications: string[], secrets: string[]): fc.Arbitrary<Json> {
  const receiver = fc.record(
    {
      authentication: fc.constantFrom(...authentications),
      maxBodyBytes: fc.nat(10 * 1024 * 1024),
      requestsPerMinute: fc.nat(600_000),
    },
    { requiredKeys: [] },
  );
  return fc.record<Record<string, Json>>(
    {
      name: label,
      [source]: fc.constant({}),
      receiver,
      retentionSeconds: fc.integer({ min: 3_600, max: 7_776_000 }),
      ...(secrets.length > 0 && { secret: fc.constantFrom(...secrets) }),
    },
    { requiredKeys: ["name", source] },
  );
}

const label = fc.stringMatching(/^[A-Za-z][A-Za-z ]{0,20}[A-Za-z]$/);

/** An integration of one auth method, which is sound. */
const definition: fc.Arbitrary<Json> = fc.record(
  {
    name: label,
    category: fc.stringMatching(/^[a-z]{1,9}$/),
    baseUrl: fc.constantFrom("https://bank.example", "https://{tenant}.bank.example/api"),
    placeholders: fc.constant({ tenant: { place: "host", pattern: "^[a-z]{1,20}$", example: "acme" } }),
    optionalHeaders: fc.constant({ "Bank-Version": "^[0-9]{4}$" }),
    authMethods: fc
      .record({ id: fc.stringMatching(/^[a-z]{1,9}$/), label, secret: fc.boolean() })
      .map(({ id, label, secret }) => [
        {
          id,
          type: "api_key",
          label,
          fields: [{ name: "key", secret }],
          inject: { headers: { "X-Key": "{key}" } },
        },
      ]),
    docs: fc.constant("https://docs.bank.example/"),
  },
  { requiredKeys: ["name", "placeholders", "authMethods"] },
);

/** An event of the audit record, by its number and hash. */
function headAt(field: string): fc.Arbitrary<Json> {
  const hash = fc.stringMatching(/^[0-9A-Fa-f]{64}$/);
  return fc
    .tuple(fc.nat(), hash)
    .map(([seq, hash]) => ({ [`${field}.seq`]: String(seq), [`${field}.hash`]: hash }));
}

function noYearZero(name: string): Pick<Unsayable, "because" | "example" | "refusal" | "fits"> {
  return {
    because: "the year 0000 is one of RFC 3339, and none of protobuf",
    example: "0000-10-31T20:00:00Z",
    refusal: new RegExp(`^INVALID_REQUEST field "${name}"`),
    fits: fc
      .date({
        min: new Date("2000-01-01T00:00:00Z"),
        max: new Date("9998-01-01T00:00:00Z"),
        noInvalidDate: true,
      })
      .map((date) => date.toISOString()),
  };
}
