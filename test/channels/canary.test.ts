import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { dumpOf, tracesOf } from "../support/canary.ts";
import { startService } from "../support/service.ts";

interface Wanted {
  readonly webhook?: object;
  readonly cloudEvents?: object;
  readonly receiver?: { readonly authentication: string };
  readonly secret?: string;
}

test("what a channel's sender proves itself by is in no log line, no answer but the first, no column, and no event", async () => {
  await using service = await startService({ publicUrl: "https://hooks.example.com" });
  const answers: string[] = [];
  const secrets: string[] = [];
  const ask = async (method: string, path: string, body?: unknown) => {
    const reply = await service.org.rest(method, path, body);
    return reply.body;
  };
  const askAgain = async (method: string, path: string, body?: unknown) => {
    answers.push(JSON.stringify(await ask(method, path, body)));
  };
  const newChannel = async (wanted: Wanted) => {
    const { data } = await ask("POST", "/api/event-channels", { name: "canary", ...wanted });
    const address = String(data.url).replace("https://hooks.example.com", service.url);
    const segment = address.split("/in/")[1]?.split("/")[1];
    secrets.push(...[data.secret, wanted.secret, data.verifyToken, segment].filter((one) => one));
    return { id: String(data.channel.id), address, secret: String(wanted.secret ?? data.secret) };
  };
  const post = async (address: string, body: string, headers: Record<string, string>) => {
    const response = await fetch(address, { method: "POST", body, headers });
    answers.push(JSON.stringify([...response.headers]), await response.text());
    return response.status;
  };
  const inBody = "canary-of-the-sender-in-the-body";
  secrets.push(inBody);
  const body = JSON.stringify({ note: inBody });
  const state = "canary-that-graph-shows";
  const password = "canary:with a password";

  const github = await newChannel({ webhook: { preset: "github" } });
  const graph = await newChannel({ webhook: { preset: "microsoft-graph" }, secret: state });
  const basic = await newChannel({ webhook: {}, receiver: { authentication: "basic" }, secret: password });
  const open = await newChannel({ webhook: {}, receiver: { authentication: "none" } });
  const meta = await newChannel({ webhook: { preset: "meta" }, secret: "canary-of-the-app" });
  const bearer = await newChannel({ cloudEvents: {} });
  const signature = `sha256=${createHmac("sha256", github.secret).update(body).digest("hex")}`;
  const shown = JSON.stringify({ value: [{ clientState: state }] });
  const authorization = `Basic ${Buffer.from(password).toString("base64")}`;
  const event = { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t" };

  const statuses = [
    await post(github.address, body, { "x-hub-signature-256": signature, "x-github-delivery": "d" }),
    await post(graph.address, shown, { "content-type": "text/plain" }),
    await post(basic.address, body, { authorization }),
    await post(open.address, body, {}),
    await post(bearer.address, body, { ...event, authorization: `Bearer ${service.org.secret}` }),
  ];
  expect(statuses).toEqual([200, 202, 200, 200, 200]);
  // Mistakes that put a secret where it does not belong.
  await post(`${open.address}/more`, body, {});
  await post(`${open.address}x`, body, { authorization });
  await post(graph.address, JSON.stringify({ value: [{ clientState: state }, {}] }), {});
  await post(basic.address, body, { authorization: `${authorization}x` });
  await post(`${meta.address}?hub.verify_token=canary`, body, { "x-hub-signature-256": "canary" });
  for (const { id } of [github, basic, open]) {
    const { data } = await ask("POST", `/api/event-channels/${id}/rotate`, {});
    secrets.push(...[data.secret, String(data.url).split("/in/")[1]?.split("/")[1]].filter((one) => one));
    await askAgain("PATCH", `/api/event-channels/${id}`, { name: "renamed" });
    await askAgain("POST", `/api/event-channels/${id}/rotate`, { secret: [basic.secret] });
    await askAgain("GET", `/api/events?log=${id}`);
  }
  await askAgain("GET", "/api/event-channels");
  await askAgain("GET", "/api/audit/events");

  const dump = await dumpOf(service);
  const everything = answers.join("\n") + service.logged() + JSON.stringify(dump);
  expect(secrets.length).toBeGreaterThanOrEqual(9);
  expect(everything).toContain("renamed");
  for (const secret of secrets) {
    for (const trace of tracesOf(secret)) expect(everything.includes(trace), trace).toBe(false);
  }
});
