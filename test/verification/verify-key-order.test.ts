import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Consistency, VerifyKeyCode } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { startService, type Tenant, type TestService } from "../support/service.ts";

let service: TestService;
let stranger: Tenant;
beforeAll(async () => {
  service = await startService();
  stranger = await service.newOrganization("stranger");
});
afterAll(() => service[Symbol.asyncDispose]());

/** All that can be wrong with a key by itself. */
interface Key {
  readonly owner: string;
  readonly isRevoked: boolean;
  /** By a rotation without grace; the old secret is presented. */
  readonly isRetired: boolean;
  readonly isExpired: boolean;
  readonly callerServiceSlug: string;
  readonly environment: string;
  readonly allowedCidrs: string[];
  readonly rateLimitPerMinute: number;
  readonly scopes: string[];
  readonly user: string;
}

const keys: fc.Arbitrary<Key> = fc.record({
  owner: mostly("us", "stranger", "nobody"),
  isRevoked: mostly(false, true),
  isRetired: mostly(false, true),
  isExpired: mostly(false, true),
  callerServiceSlug: fc.constantFrom("", "orchestration"),
  environment: mostly("sandbox", "live"),
  allowedCidrs: fc.constantFrom([], ["203.0.113.0/24", "2001:db8::/32"]),
  rateLimitPerMinute: mostly(1_000, 1, 3),
  scopes: fc.constantFrom(["a:view"], ["a.write", "b:view"], ["read"]),
  user: fc.constantFrom("active", "active", "none", "deactivated"),
});

/** All that can be wrong with what it is presented for. */
interface Question {
  readonly form: string;
  readonly environment: string;
  readonly callerServiceSlug: string;
  readonly sourceIp: string;
  readonly scopes: string[];
  readonly fourEyes: boolean;
  /** Users who have acted already. */
  readonly actors: string[];
  readonly alreadyMade: number;
  readonly consistency: Consistency;
}

const questions: fc.Arbitrary<Question> = fc.record({
  form: mostly("%", "Bearer %", "bEARER   % ", "Basic %", "Bearer %, Bearer %", "% ", "Bearer"),
  environment: mostly("", "sandbox", "live"),
  callerServiceSlug: fc.constantFrom("orchestration", "orchestration", "", "other"),
  sourceIp: fc.constantFrom(
    "203.0.113.7",
    "::ffff:203.0.113.8",
    "2001:db8::1%eth0",
    "198.51.100.1",
    "nonsense",
    "",
  ),
  scopes: mostly(["a:view"], [], ["a:write"], ["b:view", "a.write"], ["c:manage"]),
  fourEyes: mostly(true, false),
  actors: fc.constantFrom([], ["another"], ["the key's user", "another"]),
  alreadyMade: mostly(0, 1, 100_000),
  consistency: mostly(Consistency.UNSPECIFIED, Consistency.STRONG),
});

/** The first, and now and then one of the others: what comes last is reached only if all before it is right. */
function mostly<T>(usual: T, ...others: T[]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );
}

interface Expected {
  readonly code: keyof typeof VerifyKeyCode;
  readonly status: number;
  readonly error?: string;
}

const unauthenticated = { status: 401, error: "missing or invalid Bearer" };
const wellFormed = new Set(["%", "Bearer %", "bEARER   % "]);

/** The contract, as a list: the first line that holds is the answer. */
function expectedOf(key: Key, question: Question, spend: () => boolean): Expected {
  const { owner, environment } = key;
  const asked = question.environment || "sandbox";
  const user = key.user === "active" && "the key's user";
  const wanted = question.fourEyes || question.actors.length > 0;
  const missing = question.scopes.find((scope) => !grantedBy[key.scopes.join(" ")]?.includes(scope));
  const lines: [boolean | (() => boolean), Expected][] = [
    [!wellFormed.has(question.form), { code: "MALFORMED", ...unauthenticated }],
    // Its text is all that is known of it, and says sandbox.
    [owner !== "us" && asked === "live", wrongEnvironment("sandbox", "live")],
    [owner !== "us", { code: "NOT_FOUND", ...unauthenticated }],
    [key.isRevoked, { code: "REVOKED", ...unauthenticated }],
    [key.isRetired, { code: "NOT_FOUND", ...unauthenticated }],
    [key.isExpired, { code: "EXPIRED", status: 401, error: "key expired" }],
    [
      key.callerServiceSlug !== "" && key.callerServiceSlug !== question.callerServiceSlug,
      { code: "WRONG_CALLER_SERVICE", ...unauthenticated },
    ],
    [environment !== asked, wrongEnvironment(environment, asked)],
    [
      key.allowedCidrs.length > 0 && !/203|2001/.test(question.sourceIp),
      { code: "ADDRESS_NOT_ALLOWED", status: 403, error: "key is not allowed from this address" },
    ],
    [() => !spend(), { code: "RATE_LIMITED", status: 429, error: "rate limit exceeded" }],
    [missing !== undefined, { code: "MISSING_SCOPE", status: 403, error: `missing scope: ${missing}` }],
    [
      wanted && user === false,
      { code: "NOT_BOUND_TO_USER", status: 422, error: "api_key_not_bound_to_user" },
    ],
    [
      question.actors.some((actor) => actor === user),
      { code: "FOUR_EYES_VIOLATION", status: 403, error: "four-eyes violation" },
    ],
  ];
  const first = lines.find(([applies]) => (typeof applies === "function" ? applies() : applies));
  return first?.[1] ?? { code: "VALID", status: 0 };
}

const grantedBy: Readonly<Record<string, string[]>> = {
  "a:view": ["a:view"],
  "a.write b:view": ["a:write", "b:view", "a.write"],
  read: ["a:view", "b:view"],
};

function wrongEnvironment(key: string, endpoint: string): Expected {
  return { code: "WRONG_ENVIRONMENT", status: 403, error: `key is ${key}; endpoint is ${endpoint}` };
}

/** Makes the key what it is to be, and answers the secret to present. */
async function make(key: Key): Promise<{ id: string; secret: string; userId: string | undefined }> {
  if (key.owner === "nobody") return { id: "", secret: newApiKeySecret("sandbox"), userId: undefined };
  const { client } = key.owner === "us" ? service.org : stranger;
  const email = `${randomUUID()}@example.com`;
  const userId = key.user === "none" ? undefined : (await client.directory.upsertUser({ email })).user!.id;
  const endsAt = BigInt(Math.ceil(service.clock.now().getTime() / 1_000) + 1);
  const { scopes, allowedCidrs, rateLimitPerMinute } = key;
  const { apiKey, secret } = await client.apiKeys.createApiKey({
    name: "job",
    scopes,
    allowedCidrs,
    rateLimitPerMinute,
    ...(userId !== undefined && { actAsUserId: userId }),
    ...(key.isExpired && { expiresAt: { seconds: endsAt, nanos: 0 } }),
  });
  const { id } = apiKey!;
  if (key.isRetired) await client.apiKeys.rotateApiKey({ id, graceSeconds: 0 });
  if (key.isExpired) service.clock.advance(2_000);
  if (key.user === "deactivated") await client.directory.deactivateUser({ id: userId! });
  // No method makes these: a service principal's secret is told to nobody, and the others are of this deployment.
  await service.postgres.asOwner(
    "update api_keys set environment = $2, kind = $3, caller_service_slug = $4 where id = $1",
    [
      id,
      key.environment,
      key.callerServiceSlug === "" ? "issued" : "service_principal",
      key.callerServiceSlug || null,
    ],
  );
  if (key.isRevoked)
    await service.postgres.asOwner("update api_keys set revoked_at = now() where id = $1", [id]);
  return { id, secret, userId };
}

test("of all that is wrong with a key and its use, the first by the contract is the answer, and only what reaches the limit is charged", async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(keys, fc.array(questions, { minLength: 1, maxLength: 8 }), async (key, asked) => {
      const { id, secret, userId } = await make(key);
      let left = key.rateLimitPerMinute;
      for (const question of asked) {
        const remaining: number[] = [];
        const spend = () => {
          const before = Math.max(0, left - question.alreadyMade);
          left = Math.max(0, before - 1);
          remaining.push(left);
          return before > 0;
        };
        const expected = expectedOf(key, question, spend);
        seen.add(expected.code);
        const { form, actors, ...rest } = question;
        const answer = await service.org.client.verification.verifyKey({
          ...rest,
          key: form.replaceAll("%", secret),
          distinctFromUserIds: actors.map((actor) => (actor === "another" ? actor : (userId ?? "nobody"))),
        });
        expect({
          code: VerifyKeyCode[answer.code],
          status: answer.answer?.status,
          error: answer.answer?.body
            ? (JSON.parse(answer.answer.body) as { error: string }).error
            : undefined,
        }).toStrictEqual({ error: undefined, ...expected });
        const isValid = expected.code === "VALID";
        expect([answer.valid, answer.principal?.apiKeyId]).toStrictEqual([isValid, isValid ? id : undefined]);
        const isOurs = key.owner === "us" && wellFormed.has(form);
        expect(answer.apiKeyId).toBe(isOurs ? id : "");
        expect(answer.budget?.remaining).toBe(remaining[0]);
      }
    }),
    { numRuns: 80 },
  );
  // Nearly each of them came up, or the property says less than it seems to.
  expect(seen.size).toBeGreaterThan(9);
});
