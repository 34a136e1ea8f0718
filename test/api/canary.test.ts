import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { dumpOf, echoesOf, tracesOf } from "../support/canary.ts";
import { define } from "../support/integrations.ts";
import { startService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

const canary = "canary/secret+of=the~sibling";

test("a stored secret appears in no answer, no log line, no audit event and no column, whatever happens", async () => {
  await using service = await startService();
  await using upstream = await startUpstream();
  const answers: string[] = [];
  const ask = async (method: string, path: string, body?: unknown) => {
    const reply = await service.org.rest(method, path, body);
    answers.push(JSON.stringify([reply.status, [...reply.headers], reply.body]));
    return reply;
  };
  const wanted = { serviceSlug: "custom:bank", baseUrl: upstream.url, apiKey: canary };
  const call = { service: "custom:bank", method: "POST", path: "/x", json: {} };

  const { body } = await ask("POST", "/api/service-connections", wanted);
  const id = body.data.connection.id as string;
  await ask("POST", "/api/service-calls", call);
  expect(upstream.asked.at(-1)!.headers.authorization).toBe(`Bearer ${canary}`);
  for (const echo of echoesOf(canary)) {
    upstream.answer({ headers: { "content-type": "text/plain", "x-echo": echo }, body: echo });
    await ask("POST", "/api/service-calls", call);
    await ask("POST", "/api/connections/custom:bank/proxy/x", {});
  }
  upstream.answer({ status: 401, body: '{"error":"bad token"}' });
  await ask("POST", "/api/service-calls", call);
  await ask("POST", "/api/connections/custom:bank/proxy/x", {});
  // Mistakes that put the secret where it does not belong.
  await ask("POST", "/api/service-connections", { ...wanted, apiKey: { nested: canary } });
  await ask("POST", "/api/service-connections", { ...wanted, apiKey: [canary] });
  await ask("POST", "/patchbay.connections.v1.ConnectionService/UpsertServiceConnection", {
    ...wanted,
    apiKey: [canary],
  });
  await ask("POST", "/patchbay.connections.v1.ConnectionService/UpsertServiceConnection", {
    ...wanted,
    active: canary,
  });
  await ask("POST", "/api/service-connections", { ...wanted, apiKey: `${canary}\n` });
  await ask("POST", "/api/service-connections", {
    ...wanted,
    baseUrl: `https://user:${canary}@bank.example`,
  });
  await ask("GET", `/api/service-connections?api_key=${encodeURIComponent(canary)}`);
  await ask("PATCH", `/api/service-connections/${id}`, { apiKey: canary, active: true });
  await ask("PATCH", `/api/service-connections/${id}`, { baseUrl: "https://elsewhere.example" });
  await ask("POST", `/api/service-connections/${id}/test`);
  await service.app.loops.health.runOnce();
  for (const path of [
    "/api/service-connections",
    "/api/catalog/services",
    "/api/audit/events",
    "/api/api-keys",
  ])
    await ask("GET", path);
  await ask("POST", "/api/service-connections", wanted);
  await service.org.client.connections.callService({ service: "custom:bank", method: "GET", path: "/" });

  const dump = await dumpOf(service);
  await ask("DELETE", `/api/service-connections/${id}`);
  const everything = answers.join("\n") + service.logged() + JSON.stringify(dump);
  expect(dump.length).toBeGreaterThan(10);
  for (const trace of tracesOf(canary)) expect(everything.includes(trace), trace).toBe(false);
});

/** One of each kind, as an integration declares them. */
const methods = [
  ["basic", { basic: { username: "{user}", password: "{secret}" } }],
  ["header", { headers: { "X-Auth": "Token {secret}" } }],
  ["query", { query: { access: "{secret}" } }],
  ["cookie", { cookies: { session: "{secret}" } }],
  ["body", { body: { token: "{secret}" } }],
] as const;

test.each(methods)(
  "a secret that goes into %s appears nowhere either, nor do those that replace it, are tried or are compared",
  async (method, inject) => {
    await using service = await startService();
    await using upstream = await startUpstream();
    const secretOf = (n: number) => `canary-${method}-${n}-of-the-service`;
    await define(service, "custom:canary", {
      authMethods: [
        {
          ...{ id: method, type: "custom", label: method, inject },
          fields: [
            { name: "user", secret: false, optional: true },
            { name: "secret", secret: true },
          ],
        },
      ],
      probe: { method: "POST", path: "/me", body: "{}", expect: { status: 200 } },
    });
    const answers: string[] = [];
    const ask = async (verb: string, path: string, body?: unknown) => {
      const reply = await service.org.rest(verb, path, body);
      answers.push(JSON.stringify([reply.status, [...reply.headers], reply.body]));
      return reply;
    };
    const given = (n: number) => ({ credentials: { user: "u", secret: secretOf(n) } });
    const wanted = { integration: "custom:canary", authMethod: method, baseUrl: upstream.url };
    const { body } = await ask("POST", "/api/connections", { ...wanted, ...given(0), verify: true });
    const id = body.data.connection.id as string;
    const path = `/api/connections/${id}`;
    const call = { service: id, method: "POST", path: "/x", json: {} };
    await ask("POST", "/api/service-calls", call);
    const sent = upstream.asked.at(-1)!;
    // The one place where it belongs.
    const [, credentials = ""] = sent.headers.authorization?.split(" ") ?? [];
    const carried = [sent.url, sent.body, JSON.stringify(sent.headers), Buffer.from(credentials, "base64")];
    expect(carried.join("\n")).toContain(secretOf(0));
    for (const echo of echoesOf(secretOf(0))) {
      upstream.answer({ headers: { "content-type": "text/plain", "x-echo": echo }, body: echo });
      await ask("POST", "/api/service-calls", call);
      await ask("POST", `${path}/test`);
    }
    upstream.answer({ status: 401 });
    await ask("PATCH", path, { ...given(1), verify: true });
    await ask("PATCH", path, { ...given(2), fallbackSeconds: 60, name: "Rotated" });
    await ask("POST", "/api/service-calls", call);
    await ask("POST", `${path}/check-credential`, given(2));
    await ask("POST", `${path}/check-credential`, given(3));
    // Mistakes that put the secret where it does not belong.
    await ask("PATCH", path, { credentials: { [secretOf(4)]: "x" } });
    await ask("PATCH", path, { credentials: { secret: [secretOf(4)] } });
    await ask("PATCH", path, { params: { secret: secretOf(4) }, baseUrl: "https://elsewhere.example" });
    await ask("POST", "/api/connections", { ...wanted, params: given(4).credentials, ...given(4) });
    await ask("POST", "/api/connections", {
      ...wanted,
      baseUrl: "http://127.0.0.1:9",
      verify: true,
      ...given(4),
    });
    await service.app.loops.health.runOnce();
    for (const list of ["/api/connections", "/api/service-connections", "/api/audit/events", path]) {
      await ask("GET", list);
    }
    const dump = await dumpOf(service);
    await ask("DELETE", path);
    const everything = answers.join("\n") + service.logged() + JSON.stringify(dump);
    for (const n of [0, 1, 2, 3, 4]) {
      for (const trace of tracesOf(secretOf(n))) expect(everything.includes(trace), trace).toBe(false);
    }
  },
);

test("what channels and webhooks keep secret, and the bodies of events, appear nowhere, whatever happens", async () => {
  await using service = await startService({ limits: { failuresPerMinute: 10_000 } });
  await using upstream = await startUpstream();
  const answers: string[] = [];
  /** Calls, and keeps the answer unless it is the one that shows a secret. */
  const ask = async (method: string, path: string, body?: unknown, keep = true) => {
    const reply = await service.org.rest(method, path, body, {
      ...(method === "POST" && { "idempotency-key": `canary-${answers.length}` }),
    });
    answers.push(JSON.stringify([reply.status, [...reply.headers], keep ? reply.body : undefined]));
    return reply;
  };
  /** Sends as a stranger does, and keeps the answer. */
  const post = async (url: string, body: string, headers: Record<string, string> = {}) => {
    const reply = await fetch(url, {
      method: "POST",
      body,
      headers: { "content-type": "application/json", ...headers },
    });
    answers.push(JSON.stringify([reply.status, [...reply.headers], await reply.text()]));
    return reply.status;
  };
  const secrets: string[] = [];
  const secret = (text: string) => {
    secrets.push(text);
    return text;
  };
  const given = (of: string) => secret(`canary/${of}+of=the~channel`);
  const body = (of: string) => secret(`canary-body-${of}-of-an-event`);
  const channel = async (wanted: object) => {
    const { body: made, status } = await ask(
      "POST",
      "/api/event-channels",
      { name: "canary", ...wanted },
      false,
    );
    expect(status).toBe(201);
    const { channel: shown, ...once } = made.data as {
      channel: { id: string };
      url: string;
      secret?: string;
    };
    answers.push(JSON.stringify(shown));
    return { id: shown.id, path: `/api/event-channels/${shown.id}`, ...once };
  };
  const signed = (key: string, text: string) => ({
    "x-hub-signature-256": `sha256=${createHmac("sha256", key).update(text).digest("hex")}`,
  });

  // Each way in which a sender proves itself, with what it sends.
  const githubSecret = given("github");
  const github = await channel({ webhook: { preset: "github" }, secret: githubSecret });
  const hello = JSON.stringify({ text: body("github") });
  expect(await post(github.url, hello, signed(githubSecret, hello))).toBe(200);
  const tokenSecret = given("token");
  const token = await channel({ webhook: {}, receiver: { authentication: "token" }, secret: tokenSecret });
  expect(await post(token.url, body("token"), { "x-webhook-token": tokenSecret })).toBe(200);
  const password = `shop:${given("basic")}`;
  const basic = await channel({ webhook: {}, receiver: { authentication: "basic" }, secret: password });
  const credentials = Buffer.from(password).toString("base64");
  expect(await post(basic.url, body("basic"), { authorization: `Basic ${credentials}` })).toBe(200);
  const open = await channel({ webhook: {}, receiver: { authentication: "none" } });
  const segment = secret(open.url.split("/").at(-1)!);
  expect(await post(open.url, body("open"))).toBe(200);
  const made = await channel({ webhook: { preset: "standard-webhooks" } });
  secret(made.secret!.slice("whsec_".length));
  const clientState = given("graph");
  const graph = await channel({ webhook: { preset: "microsoft-graph" }, secret: clientState });
  const notification = JSON.stringify({ value: [{ clientState, text: body("graph") }] });
  expect(await post(graph.url, notification)).toBe(202);
  const slackSecret = given("slack");
  const slack = await channel({ webhook: { preset: "slack" }, secret: slackSecret });
  const at = String(Math.floor(service.clock.now().getTime() / 1000));
  const message = JSON.stringify({ token: secret("canary-token-of-slack-itself"), text: body("slack") });
  const proof = createHmac("sha256", slackSecret).update(`v0:${at}:${message}`).digest("hex");
  const slackHeaders = { "x-slack-request-timestamp": at, "x-slack-signature": `v0=${proof}` };
  expect(await post(slack.url, message, slackHeaders)).toBe(200);
  const events = await channel({ cloudEvents: {} });
  const cloud = {
    "content-type": "application/cloudevents+json",
    authorization: `Bearer ${service.org.secret}`,
  };
  const event = { specversion: "1.0", id: "1", source: "/s", type: "sold", data: { text: body("cloud") } };
  expect(await post(events.url, JSON.stringify(event), cloud)).toBe(200);

  // An endpoint that gets them all, and whose receiver repeats whatever it gets.
  const header = given("header");
  const endpoints = "/api/webhook-endpoints";
  const wanted = {
    url: `${upstream.url}/hook`,
    types: [github, token, open, events].map(({ id }) => `channel:${id}/*`),
    headers: { authorization: `Bearer ${header}` },
  };
  const { body: registered } = await ask("POST", endpoints, wanted, false);
  const { endpoint, secret: signing } = registered.data as { endpoint: { id: string }; secret: string };
  secret(signing.slice("whsec_".length));
  const endpointPath = `${endpoints}/${endpoint.id}`;
  const echoes = echoesOf(header).map((echo) => ({ "content-type": `text/${echo}`, "x-echo": echo }));
  for (const [n, headers] of echoes.entries()) {
    upstream.answer({ status: n % 2 === 0 ? 200 : 500, headers, body: `${header} ${signing}` });
    await post(events.url, JSON.stringify({ ...event, id: `echo-${n}` }), cloud);
    await service.app.loops.webhooks.runOnce();
    await ask("POST", `${endpointPath}/test`, {});
  }
  expect(upstream.asked.some((asked) => asked.headers.authorization === `Bearer ${header}`)).toBe(true);
  expect(upstream.asked.some((asked) => asked.body.includes("canary-body-cloud"))).toBe(true);
  const rotated = await ask("POST", `${endpointPath}/rotate`, {}, false);
  secret(String(rotated.body.data.secret).slice("whsec_".length));
  await ask("POST", `${endpointPath}/redeliver`, { log: events.id, seq: 1 });
  await ask("PATCH", endpointPath, { headers: { authorization: given("second-header"), "x-team": header } });
  await service.app.loops.webhooks.runOnce();

  // Mistakes that put them where they do not belong.
  for (const one of [`${header}\n`, { nested: header }, [header]]) {
    await ask("PATCH", endpointPath, { headers: { authorization: one } });
    await ask("POST", endpoints, { ...wanted, headers: one });
    await ask("POST", "/api/event-channels", { name: "x", webhook: {}, secret: one });
    await ask("POST", `${github.path}/rotate`, { secret: one });
  }
  await ask("POST", endpoints, { ...wanted, url: `https://user:${header}@shop.example/` });
  await ask("POST", endpoints, {
    ...wanted,
    url: `https://shop.example/?token=${encodeURIComponent(header)}`,
  });
  await ask("POST", endpoints, { ...wanted, headers: { [header]: "x" } });
  await post(`${github.url}/${segment}`, hello);
  await post(open.url.replace("/in/chn_", "/in/chx_"), body("lost"));
  await post(`${open.url}/more`, body("strayed"));
  await post(`${open.url}?token=${encodeURIComponent(githubSecret)}`, "{}");
  await post(github.url, hello, { "x-hub-signature-256": githubSecret });
  await post(github.url, hello, { ...signed("wrong", hello), "x-github-event": "x".repeat(9_000) });
  await post(token.url, body("refused"), { "x-webhook-token": `${tokenSecret}x` });
  await post(slack.url, message, { ...slackHeaders, "x-slack-request-timestamp": "abc" });
  await post(events.url, `{"specversion":"1.0","id":"2","source":"/s","data":"${body("broken")}"`, cloud);
  await post(events.url, JSON.stringify({ ...event, data_base64: body("both") }), cloud);
  await ask("POST", `${github.path}/rotate`, { secret: given("rotated"), graceSeconds: 60 });
  await ask("POST", `${graph.path}/rotate`, { secret: given("now"), graceSeconds: 0 });
  await ask("PATCH", github.path, { name: "renamed", receiver: { maxBodyBytes: 1024 } });

  for (const { id, path } of [github, token, basic, open, made, graph, slack, events]) {
    await ask("GET", path);
    await ask("GET", `/api/events?log=${id}`);
  }
  const lists = [
    "/api/event-channels",
    endpoints,
    endpointPath,
    `${endpointPath}/attempts`,
    `${endpointPath}/dead`,
    "/api/audit/events",
  ];
  for (const path of [
    ...lists,
    "/api/events?log=audit&withData=true",
    "/api/events?log=service&withData=true",
  ])
    await ask("GET", path);
  await ask("DELETE", slack.path);
  const dump = await dumpOf(service);
  await ask("DELETE", endpointPath);

  const everything = answers.join("\n") + service.logged() + JSON.stringify(dump);
  expect(secrets).toHaveLength(new Set(secrets).size);
  for (const one of secrets) {
    const decoded = /^[\w+/-]{43}=?$/.test(one) ? [Buffer.from(one, "base64").toString("hex")] : [];
    for (const trace of [...tracesOf(one), ...decoded]) expect(everything.includes(trace), trace).toBe(false);
  }
  expect(service.logged()).not.toMatch(/"level":(?:50|60)/);
});
