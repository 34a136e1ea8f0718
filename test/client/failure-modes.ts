import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect } from "vitest";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import type { GuardOptions, Requirement } from "#src/client/guard/guard.ts";
import { startUpstream } from "../support/upstream.ts";
import type { Sibling } from "./sibling.ts";

/** A way to be refused: what is presented for what, and the answer over HTTP and in RPC protocols. */
export interface FailureMode {
  readonly name: string;
  readonly status: number;
  readonly code: Code;
  readonly error: string;
  readonly headers: Readonly<Record<string, unknown>>;
  prepare(sibling: Sibling): Promise<Presented>;
}

export interface Presented {
  /** The values of Authorization headers. */
  readonly authorization: readonly string[];
  readonly requirement?: Requirement & { readonly distinctFromUserIds?: () => readonly string[] };
  readonly options?: Partial<GuardOptions>;
}

export async function newUser({ service }: Sibling): Promise<string> {
  const { user } = await service.org.client.directory.upsertUser({ email: `${randomUUID()}@example.com` });
  return user!.id;
}

/** What a service principal presents, as seen by the sibling that a connection without a key calls. */
export async function servicePrincipal({ service }: Sibling): Promise<string> {
  await using upstream = await startUpstream();
  const { client } = service.org;
  await client.connections.upsertServiceConnection({
    serviceSlug: "aml",
    baseUrl: upstream.url,
    scopes: ["rules:view"],
  });
  await client.connections.callService({ service: "aml", method: "GET", path: "/" });
  return upstream.asked[0]!.headers.authorization!;
}

const invalid = {
  status: 401,
  code: Code.Unauthenticated,
  error: "missing or invalid Bearer",
  headers: { "www-authenticate": "Bearer", "x-error-reason": "INVALID_BEARER" },
};

const forbidden = { status: 403, code: Code.PermissionDenied };

/** What answers say once the key's budget was looked at. */
const charged = {
  ratelimit: expect.stringMatching(/^"default";r=\d+;t=\d+$/),
  "ratelimit-policy": `"default";q=1000000;w=60`,
};

function presenting(...authorization: string[]): () => Promise<Presented> {
  return async () => ({ authorization });
}

export const failureModes: readonly FailureMode[] = [
  { name: "no key", ...invalid, prepare: presenting() },
  { name: "another scheme", ...invalid, prepare: presenting("Basic dXNlcjpwYXNzd29yZA==") },
  { name: "a made-up key", ...invalid, prepare: presenting("Bearer made-up") },
  {
    name: "an unknown key of the right form",
    ...invalid,
    prepare: presenting(`Bearer ${newApiKeySecret("sandbox")}`),
  },
  { name: "a header that is too long", ...invalid, prepare: presenting(`Bearer ${"x".repeat(506)}`) },
  {
    name: "a key without its scheme",
    ...invalid,
    prepare: async (sibling) => ({ authorization: [(await sibling.newKey()).secret] }),
  },
  {
    name: "a revoked key",
    ...invalid,
    async prepare({ service, newKey }) {
      const { id, secret } = await newKey();
      await service.org.client.apiKeys.revokeApiKey({ id });
      return { authorization: [`Bearer ${secret}`] };
    },
  },
  {
    name: "a key of another organisation",
    ...invalid,
    async prepare({ service }) {
      const other = await service.newOrganization("globex");
      return { authorization: [`Bearer ${other.secret}`] };
    },
  },
  {
    name: "a service principal of another service",
    ...invalid,
    prepare: async (sibling) => ({
      authorization: [await servicePrincipal(sibling)],
      options: { callerServiceSlug: () => "identity" },
    }),
  },
  {
    name: "an expired key",
    status: 401,
    code: Code.Unauthenticated,
    error: "key expired",
    headers: { "www-authenticate": expect.stringContaining("Bearer"), "x-error-reason": "KEY_EXPIRED" },
    async prepare({ service, newKey }) {
      const expiresAt = timestampFromDate(new Date(service.clock.now().getTime() + 1_000));
      const { secret } = await newKey({ expiresAt });
      service.clock.advance(1_000);
      return { authorization: [`Bearer ${secret}`] };
    },
  },
  {
    name: "a missing scope",
    ...forbidden,
    error: "missing scope: customers:write",
    headers: { ...charged, "x-error-reason": "MISSING_SCOPE" },
    prepare: async ({ newKey }) => ({
      authorization: [`Bearer ${(await newKey()).secret}`],
      requirement: { scopes: ["rules:view", "customers:write"] },
    }),
  },
  {
    name: "a missing scope of an endpoint in the catalog",
    ...forbidden,
    error: "missing scope: verifications:view",
    headers: { ...charged, "x-error-reason": "MISSING_SCOPE" },
    prepare: async ({ newKey }) => ({
      authorization: [`Bearer ${(await newKey()).secret}`],
      requirement: {
        endpoint: { serviceSlug: "identity", method: "POST", path: "/api/identity/document/ktp/capture" },
      },
    }),
  },
  {
    name: "the other environment",
    ...forbidden,
    error: "key is sandbox; endpoint is live",
    headers: { "x-error-reason": "WRONG_ENVIRONMENT" },
    prepare: async ({ newKey }) => ({
      authorization: [`Bearer ${(await newKey()).secret}`],
      options: { environment: "live" },
    }),
  },
  {
    name: "an address that is not on the key's list",
    ...forbidden,
    error: "key is not allowed from this address",
    headers: { "x-error-reason": "ADDRESS_NOT_ALLOWED" },
    prepare: async ({ newKey }) => ({
      authorization: [`Bearer ${(await newKey({ allowedCidrs: ["10.0.0.0/8"] })).secret}`],
      options: { sourceIp: (request) => request.remoteAddress },
    }),
  },
  {
    name: "a spent budget",
    status: 429,
    code: Code.ResourceExhausted,
    error: "rate limit exceeded",
    headers: {
      "retry-after": "60",
      ratelimit: `"default";r=0;t=60`,
      "ratelimit-policy": `"default";q=1;w=60`,
      "x-error-reason": "RATE_LIMITED",
    },
    async prepare({ service, newKey }) {
      const { secret } = await newKey({ rateLimitPerMinute: 1 });
      expect(await service.org.client.verification.verifyKey({ key: secret })).toMatchObject({ valid: true });
      return { authorization: [`Bearer ${secret}`] };
    },
  },
  {
    name: "a key without a user before a four-eyes endpoint",
    status: 422,
    code: Code.FailedPrecondition,
    error: "api_key_not_bound_to_user",
    headers: { ...charged, "x-error-reason": "API_KEY_NOT_BOUND_TO_USER" },
    prepare: async ({ newKey }) => ({
      authorization: [`Bearer ${(await newKey()).secret}`],
      requirement: { fourEyes: true },
    }),
  },
  {
    name: "a key without a user where nobody has acted yet",
    status: 422,
    code: Code.FailedPrecondition,
    error: "api_key_not_bound_to_user",
    headers: { ...charged, "x-error-reason": "API_KEY_NOT_BOUND_TO_USER" },
    prepare: async ({ newKey }) => ({
      authorization: [`Bearer ${(await newKey()).secret}`],
      requirement: { distinctFromUserIds: () => [] },
    }),
  },
  {
    name: "a user who has already acted",
    ...forbidden,
    error: "four-eyes violation",
    headers: { ...charged, "x-error-reason": "FOUR_EYES_VIOLATION" },
    async prepare(sibling) {
      const actAsUserId = await newUser(sibling);
      const { secret } = await sibling.newKey({ actAsUserId });
      return {
        authorization: [`Bearer ${secret}`],
        requirement: { distinctFromUserIds: () => ["usr_other", actAsUserId] },
      };
    },
  },
];
