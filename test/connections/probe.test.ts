import { afterAll, expect, test } from "vitest";
import { createProbe } from "#src/connections/probe.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { response, startUpstream, type Answer } from "../outbound/network.ts";

const outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1") });
const probe = createProbe(outbound);
afterAll(() => outbound.close());

/** Of a length that no socket takes at once, so that the service notices when its reader is gone. */
const large = Buffer.alloc(11 * 1024 * 1024, "x");

const answers: [what: string, Answer][] = [
  ["a large body", response(large)],
  ["a large body in a coding that it is not in", response(large, "content-encoding: gzip\r\n")],
  ["a body that never ends", "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"],
  ["more headers than a call may have", response(large, `x-long: ${"x".repeat(17 * 1024)}\r\n`)],
];

test.each(answers)(
  "a service that answers with %s is healthy, and its body is not read",
  async (_, answer) => {
    await using upstream = await startUpstream(answer);
    const result = await probe.reach({ orgId: "acme", baseUrl: upstream.origin });
    expect(result).toEqual({ ok: true, status: 200, latencyMs: expect.any(Number) as number });
    await upstream.abandoned();
  },
);

test("a service that answers 5xx is not healthy, however long it goes on", async () => {
  await using upstream = await startUpstream("HTTP/1.1 503 Service Unavailable\r\n\r\nwait");
  const result = await probe.reach({ orgId: "acme", baseUrl: upstream.origin });
  expect(result).toEqual({
    ok: false,
    status: 503,
    stage: "status",
    message: "the service answered 503",
  });
  await upstream.abandoned();
});
