import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let service: TestService;
let upstream: Upstream;
let ids: { readonly aml: string; readonly custom: string; readonly identity: string };
const apiKey = "the-siblings-own-key";

beforeAll(async () => {
  service = await startService();
  upstream = await startUpstream();
  const connected = async (serviceSlug: string) => {
    const wanted = { serviceSlug, baseUrl: `${upstream.url}/base`, apiKey };
    return (await service.org.client.connections.upsertServiceConnection(wanted)).connection!.id;
  };
  ids = {
    aml: await connected("aml"),
    custom: await connected("custom:ledger"),
    identity: await connected("identity"),
  };
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});
beforeEach(() => upstream.answer({}));

const call = (body: object) => service.org.rest("POST", "/api/actions/call", body);
const plan = (body: object) => service.org.rest("POST", "/api/actions/plan", body);
const refusalOf = async (asked: ReturnType<typeof call>) => {
  const { status, headers, body } = await asked;
  return `${status} ${headers.get("x-error-reason")} ${body.error}`;
};
const submit = { actionIdentifier: "aml/submitSarFiling", input: { path: { id: "sar 1" } } };

describe("an action", () => {
  test("is called by its id, with the connection's key, and answers as the service does", async () => {
    upstream.answer({ status: 201, body: '{"data":{"submittedById":"usr_1"}}' });
    const reply = await call(submit);
    expect(reply).toMatchObject({
      status: 200,
      body: { data: { status: 201, json: { data: { submittedById: "usr_1" } } } },
    });
    expect(upstream.asked.at(-1)).toMatchObject({
      method: "POST",
      url: "/base/api/sar-filings/sar%201/submit",
      headers: { authorization: `Bearer ${apiKey}` },
    });
  });

  test.each<[string, object]>([
    ["its method and path", { ...submit, actionIdentifier: "aml/POST /api/sar-filings/{id}/submit" }],
    ["the slug of a connection", { ...submit, service: "aml" }],
  ])("is found by %s", async (_, body) => {
    expect((await call(body)).status).toBe(200);
  });

  test("is called through the connection of an id, over gRPC too", async () => {
    const { client } = service.org;
    const answer = await client.connections.callAction({
      ...submit,
      connection: { case: "connectionId", value: ids.aml },
    });
    expect(answer).toMatchObject({ status: 200, body: { case: "json" } });
  });

  test("of a custom service is called by method and path, and its input goes as it is", async () => {
    const input = {
      path: { id: "a/b" },
      query: { tag: ["x", "y,z"], limit: 5 },
      header: { "x-kind": "a" },
      body: { amount: 1.5, deep: [{ a: null }] },
    };
    await call({ actionIdentifier: "custom:ledger/PUT /v1/accounts/{id}", input });
    expect(upstream.asked.at(-1)).toMatchObject({
      method: "PUT",
      url: "/base/v1/accounts/a%2Fb?tag=x&tag=y%2Cz&limit=5",
      headers: { "x-kind": "a", "content-type": "application/json" },
      body: '{"amount":1.5,"deep":[{"a":null}]}',
    });
  });

  test("counts as a use of its connection", async () => {
    await call(submit);
    const { connection } = await service.org.client.connections.getConnection({ id: ids.aml });
    expect(connection!.lastUsedAt).toBeDefined();
  });

  test.each<[string, () => object, RegExp]>([
    [
      "an unknown operation",
      () => ({ actionIdentifier: "aml/submitSarFilling" }),
      /^404 UNKNOWN_ACTION .*did you mean aml\/submitSarFiling\?/,
    ],
    [
      "an id where nothing is known",
      () => ({ actionIdentifier: "custom:ledger/list" }),
      /^404 UNKNOWN_ACTION .*by method and path/,
    ],
    [
      "a service that is not connected",
      () => ({ actionIdentifier: "custom:other/GET /" }),
      /^404 NOT_FOUND service is not connected/,
    ],
    [
      "a connection that is not there",
      () => ({ ...submit, connectionId: "scn_missing" }),
      /^404 NOT_FOUND no such connection/,
    ],
    [
      "a connection of another service",
      () => ({ ...submit, connectionId: ids.custom }),
      /^400 INVALID_REQUEST connectionId: scn_\w+ is a connection of custom:ledger; name one of aml, or none/,
    ],
    [
      "a slug of another service",
      () => ({ ...submit, service: "custom:ledger" }),
      /^400 INVALID_REQUEST service: scn_\w+ is a connection of custom:ledger; name one of aml, or none/,
    ],
    [
      "an operation of another service, which is not looked for",
      () => ({ actionIdentifier: "aml/submitSarFilling", service: "custom:ledger" }),
      /^400 INVALID_REQUEST service: scn_\w+ is a connection of custom:ledger; name one of aml, or none/,
    ],
    [
      "a well-known service without a connection",
      () => ({ actionIdentifier: "github/GET /user" }),
      /^400 INVALID_REQUEST connectionId: name a connection of github/,
    ],
    [
      "two connections",
      () => ({ ...submit, service: "aml", connectionId: ids.aml }),
      /^400 INVALID_REQUEST /,
    ],
    [
      "a missing variable",
      () => ({ actionIdentifier: "aml/submitSarFiling" }),
      /^400 INVALID_INPUT input: \/path\/id is missing$/,
    ],
    [
      "a variable of another type",
      () => ({ ...submit, input: { path: { id: 7 } } }),
      /^400 INVALID_INPUT input: \/path\/id must be string$/,
    ],
    [
      "a misspelt variable",
      () => ({ ...submit, input: { path: { Id: "x" } } }),
      /^400 INVALID_INPUT input: \/path\/id is missing; Id was given; \/path\/Id is unknown; did you mean id\?$/,
    ],
    [
      "a body of another type",
      () => ({ actionIdentifier: "identity/captureKtp", input: { body: "x" } }),
      /^400 INVALID_INPUT input: \/body must be object$/,
    ],
    [
      "no body where there must be one",
      () => ({ actionIdentifier: "identity/captureKtp" }),
      /^400 INVALID_INPUT input: \/body is missing$/,
    ],
    [
      "an unknown query parameter",
      () => ({ actionIdentifier: "identity/whoAmI", input: { query: { q: 1 } } }),
      /^400 INVALID_INPUT input: \/query\/q is unknown$/,
    ],
    [
      "a template that leaves its path",
      () => ({ actionIdentifier: "custom:ledger/GET /a/../b" }),
      /^400 INVALID_INPUT input: \/path /,
    ],
    [
      "a number that a double does not keep",
      () => ({ actionIdentifier: "custom:ledger/GET /", input: { query: { n: 2 ** 60 } } }),
      /^400 INVALID_INPUT input: \/query\/n an integer beyond 2\^53/,
    ],
    [
      "a name that no header can have",
      () => ({ actionIdentifier: "custom:ledger/GET /", input: { header: { "x\r\ny": "a" } } }),
      /^400 INVALID_INPUT input: \/header\/x/,
    ],
  ])("with %s is refused, and nothing is sent", async (_, body, refusal) => {
    const before = upstream.asked.length;
    expect(await refusalOf(call(body()))).toMatch(refusal);
    expect(upstream.asked.length).toBe(before);
  });

  test("of another organisation's connection looks like one that is not there", async () => {
    const other = await service.newOrganization("globex");
    const asking = other.client.connections.callAction({
      ...submit,
      connection: { case: "connectionId", value: ids.aml },
    });
    expect(await asking.catch(reasonOf)).toBe("NOT_FOUND");
  });

  test("sends no credential of the caller's own", async () => {
    const header = { Authorization: "Bearer mine", cookie: "a=b", "x-caller-service": "other" };
    await call({ actionIdentifier: "custom:ledger/GET /", input: { header } });
    const { headers } = upstream.asked.at(-1)!;
    expect(headers).toMatchObject({ authorization: `Bearer ${apiKey}` });
    expect([headers.cookie, headers["x-caller-service"]]).toStrictEqual([undefined, undefined]);
  });
});

describe("a plan", () => {
  const planned = async (body: object) => {
    const reply = await plan(body);
    expect([reply.status, reply.body.error]).toStrictEqual([200, undefined]);
    return reply.body.data;
  };

  test.each<[string, string, () => object]>([
    [
      "an action",
      "/api/actions/call",
      () => ({
        actionIdentifier: "custom:ledger/PUT /v1/{id}",
        input: {
          path: { id: "ä" },
          query: { q: ["a b", "c"] },
          header: { "X-Kind": "a", cookie: "x" },
          body: { a: "é" },
        },
      }),
    ],
    [
      "an action without input",
      "/api/actions/call",
      () => ({ actionIdentifier: "identity/whoAmI", connectionId: ids.identity }),
    ],
    [
      "a call of a service",
      "/api/service-calls",
      () => ({
        service: "custom:ledger",
        method: "POST",
        path: "/x",
        query: { n: [1, true] },
        headers: { A: "b" },
        json: { n: 1.5 },
      }),
    ],
    [
      "a call with text",
      "/api/service-calls",
      () => ({ service: ids.custom, method: "POST", path: "", text: "é" }),
    ],
    [
      "a call with bytes",
      "/api/service-calls",
      () => ({ service: "custom:ledger", method: "POST", path: "/", raw: "/w==" }),
    ],
  ])("of %s is what the call then sends, but for the secret", async (_, path, body) => {
    const before = upstream.asked.length;
    const { method, url, headers, text, raw } = await planned(body());
    expect(upstream.asked.length).toBe(before);
    expect((await service.org.rest("POST", path, body())).status).toBe(200);
    const sent = upstream.asked.at(-1)!;
    expect([method, url]).toStrictEqual([sent.method, upstream.url + sent.url]);
    const { host: _host, connection: _connection, "content-length": _length, ...others } = sent.headers;
    expect({ ...headers, authorization: `Bearer ${apiKey}` }).toStrictEqual(others);
    expect(headers.authorization).toBe("Bearer ***");
    const bytes = text === undefined ? Buffer.from(raw ?? "", "base64") : Buffer.from(text);
    expect(bytes.toString()).toBe(sent.body);
  });

  const methods = {
    header: { headers: { "X-Api-Key": "{account}/{token}" } },
    query: { query: { api_key: "{token}", account: "{account}" } },
    cookie: { cookies: { session: "{token}" } },
    body: { body: { token: "{token}" } },
    basic: { basic: { username: "{account}", password: "{token}" } },
  };

  test.each(Object.entries(methods))(
    "masks a secret that goes into the %s, and nothing else",
    async (place, inject) => {
      const serviceSlug = `custom:in-${place}`;
      const wanted = { serviceSlug, baseUrl: upstream.url, apiKey };
      const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
      const fields = [
        { name: "account", secret: false },
        { name: "token", secret: true },
      ];
      const method = { id: place, type: "custom", label: place, fields, inject };
      const recipe = { version: 1, method, allowedHosts: [], headers: { "x-version": "7" } };
      await service.postgres.asOwner(
        `update connections set recipe = '${JSON.stringify(recipe)}', params = '{"account":"acct-1"}' where id = '${connection!.id}'`,
      );
      const body = {
        actionIdentifier: `${serviceSlug}/POST /x`,
        input: { query: { api_key: "mine", "api_key[]": "mine", q: ["a,b"] }, body: { token: "mine", a: 1 } },
      };
      const { url, headers, text } = await planned(body);
      await call(body);
      const sent = upstream.asked.at(-1)!;
      const masked = (carried: string) => carried.replaceAll(apiKey, "***").replace(/^Basic .*/, "Basic ***");
      expect(JSON.stringify(sent)).toMatch(place === "basic" ? /Basic [\w=]{20,}/ : apiKey);
      expect(url).toBe(upstream.url + masked(sent.url));
      if (place === "query") expect(url).not.toContain("mine");
      expect(text).toBe(masked(sent.body));
      const { host: _host, connection: _connection, "content-length": _length, ...others } = sent.headers;
      expect(headers).toStrictEqual(
        Object.fromEntries(Object.entries(others).map(([name, value]) => [name, masked(String(value))])),
      );
      expect(JSON.stringify([url, headers, text])).toContain("***");
    },
  );

  test("of a preset has what each of its requests carries, and goes nowhere", async () => {
    const wanted = { integration: "github", authMethod: "token", credentials: { token: "ghp_0123456789" } };
    const { connection } = await service.org.client.connections.createConnection(wanted);
    const plan = await planned({ actionIdentifier: "github/GET /user", connectionId: connection!.id });
    expect(plan).toMatchObject({
      ...{ method: "GET", url: "https://api.github.com/user", connectionId: connection!.id },
      headers: { accept: "application/vnd.github+json", authorization: "Bearer ***" },
    });
  });

  test("of secrets of any length is the same", async () => {
    const plans = [];
    for (const secret of ["k", "k".repeat(4_000)]) {
      const wanted = { serviceSlug: "custom:lengths", baseUrl: upstream.url, apiKey: secret };
      await service.org.client.connections.upsertServiceConnection(wanted);
      plans.push(await planned({ service: "custom:lengths", method: "GET" }));
    }
    expect(plans[0]).toStrictEqual(plans[1]);
    expect(plans[0].headers.authorization).toBe("Bearer ***");
  });

  test("opens no credential, so that it needs no key to open it", async () => {
    await using away = await startService();
    const wanted = { serviceSlug: "custom:sealed", baseUrl: upstream.url, apiKey };
    await away.org.client.connections.upsertServiceConnection(wanted);
    await away.postgres.asOwner("update credentials set sealed = '\\x00'");
    const { method, url } = await away.org.client.connections.planCall({
      call: { case: "method", value: "GET" },
      connection: { case: "service", value: "custom:sealed" },
    });
    expect([method, url]).toStrictEqual(["GET", `${upstream.url}/`]);
  });

  test("does not count as a use of its connection", async () => {
    const wanted = { serviceSlug: "custom:planned", baseUrl: upstream.url, apiKey };
    const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
    await planned({ service: "custom:planned", method: "GET" });
    const found = await service.org.client.connections.getConnection({ id: connection!.id });
    expect(found.connection!.lastUsedAt).toBeUndefined();
  });

  test.each<[string, () => object, RegExp]>([
    ["an unknown action", () => ({ actionIdentifier: "aml/x" }), /^404 UNKNOWN_ACTION /],
    ["input that does not fit", () => ({ actionIdentifier: "aml/submitSarFiling" }), /^400 INVALID_INPUT /],
    [
      "a path that is not sent",
      () => ({ service: "custom:ledger", method: "GET", path: "/../x" }),
      /^400 INVALID_PATH /,
    ],
    [
      "a service that is not connected",
      () => ({ service: "custom:other", method: "GET" }),
      /^404 NOT_FOUND /,
    ],
    [
      "neither an action nor a method",
      () => ({ service: "aml" }),
      /^400 INVALID_REQUEST give one of actionIdentifier, method/,
    ],
    ["both", () => ({ ...submit, service: "aml", method: "GET" }), /^400 INVALID_REQUEST .*only one of/],
    [
      "an action with a path of its own",
      () => ({ ...submit, path: "/x" }),
      /^400 INVALID_REQUEST actionIdentifier: what is sent is given in input/,
    ],
    [
      "a method with input",
      () => ({ service: "aml", method: "GET", input: {} }),
      /^400 INVALID_REQUEST method: give service/,
    ],
    ["a method that is not called", () => ({ service: "aml", method: "TRACE" }), /^400 INVALID_REQUEST /],
  ])("of %s is refused as the call would be", async (_, body, refusal) => {
    expect(await refusalOf(plan(body()))).toMatch(refusal);
  });

  test.each<[string, object, number]>([
    [
      "an action that is covered",
      { actionIdentifier: "custom:ledger/GET /v1/{id}", input: { path: { id: "a" } } },
      200,
    ],
    [
      "an action of another path",
      { actionIdentifier: "custom:ledger/GET /{v}", input: { path: { v: "v10" } } },
      403,
    ],
    ["an action of another method", { actionIdentifier: "custom:ledger/POST /v1" }, 403],
    ["an action of another connection", { actionIdentifier: "identity/whoAmI" }, 404],
    ["a call that is covered", { service: "custom:ledger", method: "GET", path: "/v1/x" }, 200],
    ["a call of another method", { service: "custom:ledger", method: "POST", path: "/v1/x" }, 403],
    ["a call of another connection", { service: "aml", method: "GET", path: "/v1/x" }, 404],
  ])(
    "by a key that is limited to GET below /v1 of one connection, of %s, is answered as the call is",
    async (_, body, status) => {
      const right = {
        connection: { case: "slug" as const, value: "custom:ledger" },
        methods: ["GET"],
        pathPrefixes: ["/v1"],
      };
      const wanted = { name: "limited", scopes: ["connections:use"], connections: { rights: [right] } };
      const limited = service.as((await service.org.client.apiKeys.createApiKey(wanted)).secret);
      const called = "method" in body ? "/api/service-calls" : "/api/actions/call";
      for (const path of ["/api/actions/plan", called]) {
        expect([path, (await limited.rest("POST", path, body)).status]).toStrictEqual([path, status]);
      }
    },
  );

  test("of a connection that is switched off is refused", async () => {
    const wanted = { serviceSlug: "custom:off", baseUrl: upstream.url, apiKey };
    const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
    await service.org.client.connections.updateConnection({ id: connection!.id, active: false });
    expect(await refusalOf(plan({ service: "custom:off", method: "GET" }))).toMatch(
      /^409 CONNECTION_INACTIVE /,
    );
  });
});
