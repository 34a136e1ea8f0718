import { expect, test } from "vitest";
import { startService } from "../support/service.ts";
import { startUpstream } from "../support/upstream.ts";

const canary = "canary/secret+of=the~sibling";

const base64 = (pad: number) => Buffer.from("~".repeat(pad) + canary).toString("base64");

/** What a service may answer that repeats its credential. */
const echoes = [
  canary,
  encodeURIComponent(canary),
  JSON.stringify(canary),
  Buffer.from(canary).toString("hex"),
  ...[base64(0), base64(1), base64(2)],
  Buffer.from(canary).toString("base64url"),
];

/** What must be found nowhere: of base64, the part that does not depend on what stands around. */
const traces = echoes.map((echo, index) => (index < 4 ? echo.replaceAll('"', "") : echo.slice(4, -4)));

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
  for (const echo of echoes) {
    upstream.answer({ headers: { "content-type": "text/plain", "x-echo": echo }, body: echo });
    await ask("POST", "/api/service-calls", call);
  }
  upstream.answer({ status: 401, body: '{"error":"bad token"}' });
  await ask("POST", "/api/service-calls", call);
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
  await service.app.healthSweep.runOnce();
  for (const path of [
    "/api/service-connections",
    "/api/catalog/services",
    "/api/audit/events",
    "/api/api-keys",
  ])
    await ask("GET", path);
  await ask("POST", "/api/service-connections", wanted);
  await service.org.client.connections.callService({ service: "custom:bank", method: "GET", path: "/" });

  const dump = await service.postgres.asOwner(
    `select table_name, (xpath('/row/dump/text()', query_to_xml(format(
       'select string_agg(t::text, '' '') as dump from %I t', table_name), false, true, '')))[1]::text as dump
     from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
  );
  await ask("DELETE", `/api/service-connections/${id}`);
  const everything = answers.join("\n") + service.logged() + JSON.stringify(dump);
  expect(dump.length).toBeGreaterThan(10);
  for (const trace of traces) expect(everything.includes(trace), trace).toBe(false);
});
