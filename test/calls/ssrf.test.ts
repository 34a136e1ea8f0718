import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import type { OAuth2Method } from "#src/integrations/integration.ts";
import { response, startUpstream, type Upstream } from "../outbound/network.ts";
import { brokenPaths, brokenUrls, deniedHosts, noHosts } from "../outbound/ssrf-vectors.ts";
import { insertOAuthConnection, oauth2, startOAuth, type OAuthReplica } from "../support/oauth-grants.ts";
import { startService, type RestReply, type TestService } from "../support/service.ts";

const rootKey = newRootKeyText();
/** Calls nothing outside the public internet, where nothing of this test is. */
let service: TestService;
/** On every address of this machine. Nothing may come here. */
let trap: Upstream;
/** A connection that is fine. */
let plain: { readonly id: string };
/** Connections whose base URLs were valid when they were stored, and are vectors now. */
let stored: Connected[];

interface Connected {
  readonly id: string;
  readonly slug: string;
  readonly baseUrl: string;
  readonly reason: Reason;
}

type Reason = "ADDRESS_DENIED" | "INVALID_BASE_URL";

/** Base URLs that no call may be made to, and why not. */
function vectors(): [string, Reason][] {
  return [
    ...deniedHosts.map(([, host]): [string, Reason] => [`http://${host}:${trap.port}`, "ADDRESS_DENIED"]),
    ...noHosts.map((host): [string, Reason] => [`http://${host}`, "INVALID_BASE_URL"]),
    ...brokenUrls.map(([, url]): [string, Reason] => [url, "INVALID_BASE_URL"]),
  ];
}

beforeAll(async () => {
  trap = await startUpstream(response("reached"));
  service = await startService({ outboundAllow: "", rootKey });
  plain = await connect();
  stored = [];
  // Postgres cannot store a NUL.
  for (const [baseUrl, reason] of vectors().filter(([url]) => !url.includes("\0"))) {
    const { id, slug } = await connect();
    await service.postgres.asOwner("update connections set base_url = $1 where id = $2", [baseUrl, id]);
    await service.postgres.asOwner("update credentials set bound_to = $1 where connection_id = $2", [
      baseUrl,
      id,
    ]);
    stored.push({ id, slug, baseUrl, reason });
  }
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await trap[Symbol.asyncDispose]();
});

let serial = 0;
async function connect(): Promise<{ id: string; slug: string }> {
  const slug = `custom:s${serial++}`;
  const { data } = (
    await rest("POST", "/api/service-connections", {
      serviceSlug: slug,
      baseUrl: "https://ok.example",
      apiKey: "k",
    })
  ).body;
  return { id: data.connection.id as string, slug };
}

const rest: TestService["org"]["rest"] = (...request) => service.org.rest(...request);

const reasonOf = ({ status, headers }: RestReply) => `${status} ${headers.get("x-error-reason")}`;

describe("a base URL that no call may be made to is refused, before anything is resolved or sent, by", () => {
  /** Everything that takes a base URL. */
  const takers: [string, (baseUrl: string) => Promise<RestReply>][] = [
    [
      "the registration of a connection",
      (baseUrl) =>
        rest("POST", "/api/service-connections", { serviceSlug: "custom:bank", baseUrl, apiKey: "k" }),
    ],
    ["its update", (baseUrl) => rest("PATCH", `/api/connections/${plain.id}`, { baseUrl, apiKey: "k" })],
    [
      "the creation of a connection",
      (baseUrl) =>
        rest("POST", "/api/connections", {
          integration: "custom:bank",
          authMethod: "bearer",
          baseUrl,
          credentials: { token: "k" },
        }),
    ],
    [
      "an integration that is there, and the connection to it",
      async (baseUrl) => {
        const name = "custom:described";
        const authMethods = [
          {
            id: "token",
            type: "bearer",
            label: "Token",
            fields: [{ name: "token", secret: true }],
            inject: { headers: { Authorization: "Bearer {token}" } },
          },
        ];
        const put = await rest("PUT", `/api/integrations/${name}`, { name, baseUrl, authMethods });
        if (put.status !== 200) return put;
        const credentials = { token: "k" };
        return rest("POST", "/api/connections", { integration: name, authMethod: "token", credentials });
      },
    ],
  ];
  test.each(takers)("%s", async (_, give) => {
    const answers: unknown[] = [];
    const expected: unknown[] = [];
    for (const [baseUrl, reason] of vectors()) {
      const reply = await give(baseUrl);
      expect(JSON.stringify(reply.body)).not.toContain("hunter2");
      answers.push([baseUrl, reasonOf(reply)]);
      // The rules for the field itself come first.
      expected.push([baseUrl, expect.toBeOneOf([`400 ${reason}`, "400 INVALID_REQUEST"])]);
    }
    expect(answers).toStrictEqual(expected);
    expect(trap.connections).toBe(0);
  });
});

describe("a stored base URL that no call may be made to is not called, whatever it was stored as, by", () => {
  /** Everything that calls a stored base URL. */
  const callers: [string, (connection: Connected) => Promise<RestReply>][] = [
    [
      "CallService",
      ({ slug }) => rest("POST", "/api/service-calls", { service: slug, method: "GET", path: "/x" }),
    ],
    ["CallAction", ({ slug }) => rest("POST", "/api/actions/call", { actionIdentifier: `${slug}/GET /x` })],
    [
      "PlanCall",
      ({ slug }) => rest("POST", "/api/actions/plan", { service: slug, method: "GET", path: "/x" }),
    ],
    ["the proxy", ({ id }) => rest("GET", `/api/connections/${id}/proxy/x`)],
  ];
  test.each(callers)("%s", async (_, call) => {
    const answers: unknown[] = [];
    for (const connection of stored) {
      const reply = await call(connection);
      expect(JSON.stringify(reply.body)).not.toContain("hunter2");
      answers.push([connection.baseUrl, reasonOf(reply)]);
    }
    const status = { ADDRESS_DENIED: 403, INVALID_BASE_URL: 400 };
    expect(answers).toStrictEqual(
      stored.map(({ baseUrl, reason }) => [baseUrl, `${status[reason]} ${reason}`]),
    );
    expect(trap.connections).toBe(0);
  });

  test("the test of a connection, which says why", async () => {
    for (const { id, reason } of stored) {
      const { body } = await rest("POST", `/api/connections/${id}/test`, {});
      const why = reason === "ADDRESS_DENIED" ? "may not be called" : "baseUrl: ";
      expect(body).toStrictEqual({ ok: false, error: expect.stringContaining(why) as string });
      expect(JSON.stringify(body)).not.toContain("hunter2");
    }
    expect(trap.connections).toBe(0);
  });
});

describe("a host that may not be called is not asked by OAuth either", () => {
  let replica: OAuthReplica;
  beforeAll(() => {
    replica = startOAuth({ url: service.postgres.url, rootKey });
  });
  afterAll(() => replica[Symbol.asyncDispose]());

  const pending = (method: Partial<OAuth2Method>, status?: string) =>
    insertOAuthConnection(service.postgres, service.org.orgId, {
      method: oauth2(method),
      ...(status && { status }),
    });

  /** A connection whose access token has ended. */
  async function granted(method: Partial<OAuth2Method>): Promise<string> {
    const { orgId } = service.org;
    const wanted = { method: oauth2(method), status: "ACTIVE" };
    const id = await insertOAuthConnection(service.postgres, orgId, wanted);
    const tokens = { accessToken: "at-hunter2", refreshToken: "rt-hunter2" };
    await replica.give(orgId, id, tokens, { expiresAt: new Date(0), refreshAt: new Date(0) });
    return id;
  }

  const call = (id: string) => rest("POST", "/api/service-calls", { service: id, method: "GET", path: "/x" });
  const authorize = (id: string) => rest("POST", `/api/connections/${id}/authorize`, {});
  const tokenUrl = "https://ok.example/token";
  const unavailable = "503 REFRESH_FAILED";
  const failed = "409 AUTHORIZATION_FAILED";

  /** Everything that asks an authorization server. */
  const askers: [string, string, (url: string) => Promise<RestReply>][] = [
    [
      "for a client's token",
      unavailable,
      async (url) => call(await pending({ grant: "client_credentials", tokenUrl: url }, "ACTIVE")),
    ],
    ["for a refresh", unavailable, async (url) => call(await granted({ tokenUrl: url }))],
    [
      "for a refresh elsewhere",
      unavailable,
      async (url) => call(await granted({ tokenUrl, refreshUrl: url })),
    ],
    ["for its endpoints", failed, async (url) => authorize(await pending({ issuer: url, discover: true }))],
    [
      "for a device code",
      failed,
      async (url) =>
        authorize(await pending({ grant: "device_code", tokenUrl, deviceAuthorizationUrl: url })),
    ],
    [
      "for a revocation",
      "FAILED",
      async (url) => rest("DELETE", `/api/connections/${await granted({ tokenUrl, revocationUrl: url })}`),
    ],
    [
      "for a revocation in a way of its own",
      "FAILED",
      async (url) => {
        const revocation = { style: "get", url, auth: "bearer" } as const;
        return rest("DELETE", `/api/connections/${await granted({ tokenUrl, revocation })}`);
      },
    ],
  ];

  test.each(askers)("%s", async (_, expected, ask) => {
    const answers: unknown[] = [];
    const hosts = deniedHosts.map(([, host]) => host);
    for (const host of hosts) {
      const reply = await ask(`http://${host}:${trap.port}/oauth`);
      const revocation: unknown = reply.body?.data?.revocation;
      answers.push([host, revocation ?? reasonOf(reply)]);
      expect(JSON.stringify(reply.body)).not.toContain("hunter2");
    }
    expect(answers).toStrictEqual(hosts.map((host) => [host, expected]));
    expect(trap.connections).toBe(0);
  });
});

describe("a URL that parsers would repair is no URL of an integration's OAuth", () => {
  test.each([
    ...["issuer", "authorizationUrl", "tokenUrl", "refreshUrl", "revocationUrl"],
    "deviceAuthorizationUrl",
  ])("%s", async (field) => {
    const broken = [...brokenUrls.map(([, url]) => url), ...noHosts.map((host) => `http://${host}/x`)];
    // A query is nothing unusual in these.
    for (const url of broken.filter((one) => !one.startsWith("http://ok.example/?"))) {
      const oauth = { grant: "authorization_code", pkce: "required", clientAuthentication: "post" };
      const urls = { authorizationUrl: "https://ok.example/a", tokenUrl: "https://ok.example/t" };
      const more = { scopeSeparator: " ", refresh: "rotating" };
      const authMethods = [
        {
          id: "oauth2",
          type: "oauth2",
          label: "OAuth",
          oauth2: { ...oauth, ...urls, ...more, [field]: url },
        },
      ];
      const definition = { name: "Ours", baseUrl: "https://ok.example", authMethods };
      const reply = await rest("PUT", "/api/integrations/custom:repaired", definition);
      expect([url, reply.status]).toStrictEqual([url, 400]);
      expect(JSON.stringify(reply.body)).not.toContain("hunter2");
    }
    expect(trap.connections).toBe(0);
  });
});

test("a path that would mean another one is not called, and not planned", async () => {
  await using open = await startService({ outboundAllow: "127.0.0.0/8,::1,0.0.0.0/0,::/0" });
  await open.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:bank",
    baseUrl: `${trap.origin}/api`,
    apiKey: "k",
  });
  for (const [, path] of brokenPaths) {
    for (const way of ["/api/service-calls", "/api/actions/plan"]) {
      const reply = await open.org.rest("POST", way, { service: "custom:bank", method: "GET", path });
      expect([way, path, reasonOf(reply)]).toStrictEqual([
        way,
        path,
        expect.toBeOneOf(["400 INVALID_PATH", "400 INVALID_REQUEST"]),
      ]);
    }
  }
  expect(trap.connections).toBe(0);
});
