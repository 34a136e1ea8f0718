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
