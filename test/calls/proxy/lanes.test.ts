import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { open, proxyPath, slug, startProxied } from "./support.ts";

test("64 open streams to a service hold up no call to it", async () => {
  await using running = await startProxied();
  running.upstream.serve((request, response) => {
    if (request.url === "/base/events") response.writeHead(200).flushHeaders();
    else response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  const streams = Array.from({ length: 64 }, () => open(running.service, proxyPath("/events")));
  for (const { request } of streams) request.end();
  const answers = await Promise.all(streams.map(({ response }) => response));
  expect(answers.filter(({ statusCode }) => statusCode !== 200)).toEqual([]);
  const call = { service: slug, method: "GET", path: "/x" };
  expect((await running.service.org.rest("POST", "/api/service-calls", call)).status).toBe(200);
  // The next stream gets its turn as soon as one of them ends.
  const next = open(running.service, proxyPath("/x"));
  next.request.end();
  const before = running.upstream.asked.length;
  for (let i = 0; i < 20; i++) await turn();
  expect(running.upstream.asked.length).toBe(before);
  streams[0]!.request.destroy();
  expect((await next.response).statusCode).toBe(200);
  for (const { request } of streams) request.destroy();
});
