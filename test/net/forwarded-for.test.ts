import { once } from "node:events";
import type http2 from "node:http2";
import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { withAccessLog } from "#src/net/access-log.ts";
import { callOfRequest } from "#src/pipeline/request-call.ts";
import { clientAddressOf } from "#src/net/forwarded-for.ts";
import type { Request } from "#src/platform/http.ts";
import { connectHttp2, recordingLog, startPort } from "./support.ts";

/** A request of which Node has joined the lines of the header. */
function requestWith(forwardedFor: string | undefined): Request {
  const headers = { ...(forwardedFor !== undefined && { "x-forwarded-for": forwardedFor }) };
  return { headers, socket: { remoteAddress: "192.0.2.1" } } as Request;
}

describe("the client's address is the entry of the header that the first trusted proxy wrote", () => {
  test.each([
    ["no header is read without proxies", 0, "203.0.113.7", "192.0.2.1"],
    ["one proxy", 1, "203.0.113.7", "203.0.113.7"],
    ["one proxy, and a client that makes something up", 1, "10.0.0.1, 203.0.113.7", "203.0.113.7"],
    ["two proxies", 2, "203.0.113.7, 198.51.100.1", "203.0.113.7"],
    ["two proxies, and a client", 2, "10.0.0.1,,x, 203.0.113.7, 198.51.100.1", "203.0.113.7"],
    ["ten proxies", 10, `203.0.113.7${", 198.51.100.1".repeat(9)}`, "203.0.113.7"],
    ["fewer entries than proxies", 2, "203.0.113.7", undefined],
    ["no header where there should be one", 1, undefined, undefined],
    ["an empty one", 1, "", undefined],
    ["an empty entry", 1, "203.0.113.7,", undefined],
  ])("%s", (_, hops, header, expected) => {
    expect(clientAddressOf(requestWith(header), hops)).toBe(expected);
  });

  test.each([
    ["203.0.113.7:51234", "203.0.113.7"],
    ["203.0.113.7:0", "203.0.113.7"],
    ["\t 203.0.113.7 \t", "203.0.113.7"],
    ["2001:DB8:0:0::1", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["[2001:db8::1]:443", "2001:db8::1"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["[::FFFF:cb00:7107]:1", "203.0.113.7"],
    ["::1", "::1"],
  ])("%j is one", (entry, expected) => {
    expect(clientAddressOf(requestWith(`10.0.0.1, ${entry}`), 1)).toBe(expected);
  });

  test.each([
    "unknown",
    "_hidden",
    "localhost",
    "for=203.0.113.7",
    '"203.0.113.7"',
    "203.0.113",
    "203.0.113.07",
    "203.0.113.256",
    "0xcb007107",
    "3405803783",
    "203.0.113.7:",
    "203.0.113.7:65536",
    "203.0.113.7:8a",
    "203.0.113.7:-1",
    "[203.0.113.7]",
    "203.0.113.7 203.0.113.8",
    "203.0.113.7;203.0.113.8",
    "203.0.113.0/24",
    "2001:db8::1::",
    "[2001:db8::1",
    "2001:db8::1]",
    "[2001:db8::1]443",
    "[]",
    "[]:80",
    ":80",
    "fe80::1%eth0",
    "[fe80::1%25eth0]",
    "::ffff:203.0.113.7:80",
    "\u00a0203.0.113.7",
    "203.0.113.7\u0000",
    "２０３.0.113.7",
  ])("%j is none", (entry) => {
    // prettier-ignore
    expect(clientAddressOf(requestWith(`10.0.0.1, ${entry}`), 1)).toBeUndefined();
  });

  const hops = fc.integer({ min: 1, max: 10 });
  const addresses = fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { minLength: 1, maxLength: 10 });
  // What a header may hold at all, and much of what this one is made of.
  const madeUp = fc.string({
    unit: fc.constantFrom(...",,,  \t[]:;=\"'.%_-0123456789abcdefghFX\u00e9\u00ff".split("")),
    maxLength: 100,
  });

  test("whatever a client sends, in whatever lines, changes nothing", () => {
    fc.assert(
      fc.property(
        addresses,
        fc.array(fc.oneof(madeUp, fc.ipV4(), fc.ipV6()), { maxLength: 12 }),
        (trusted, sent) => {
          const honest = clientAddressOf(requestWith(trusted.join(", ")), trusted.length);
          expect(honest).toBeDefined();
          expect(clientAddressOf(requestWith([...sent, ...trusted].join(", ")), trusted.length)).toBe(honest);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("it is an address or unknown, whatever the header holds", () => {
    fc.assert(
      fc.property(madeUp, hops, (header, count) => {
        const address = clientAddressOf(requestWith(header), count);
        expect(address === undefined || isIP(address) !== 0).toBe(true);
        if (address !== undefined) expect(clientAddressOf(requestWith(address), 1)).toBe(address);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("over the wire", () => {
  async function startBehind(trustedProxyHops: number) {
    const { log, lines } = recordingLog();
    const port = await startPort({
      handler: withAccessLog(
        (request, response) => void response.end(`client: ${callOfRequest(request).remoteAddress}`),
        { log, monotonicNow: () => 0, trustedProxyHops, legacyPrefixes: [] },
      ),
    });
    return { ...port, lines };
  }

  test.each([
    [
      "the proxy's own line counts after the client's",
      "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 203.0.113.7\r\n",
    ],
    [
      "so do other spellings of the name",
      "x-FORWARDED-for: 10.0.0.1, 10.0.0.2\r\nX-Forwarded-For: 203.0.113.7\r\n",
    ],
    [
      "headers that look alike do not",
      "X-Forwarded-For: 203.0.113.7\r\nX_Forwarded_For: 10.0.0.1\r\nForwarded: for=10.0.0.2\r\nX-Real-IP: 10.0.0.3\r\n",
    ],
  ])("%s, over HTTP/1.1", async (_, lines) => {
    // prettier-ignore
    await using port = await startBehind(1);
    using client = await port.connect();
    await client.send(`GET / HTTP/1.1\r\nhost: a\r\n${lines}connection: close\r\n\r\n`);
    expect((await client.closed()).toString()).toMatch(/client: 203\.0\.113\.7$/);
  });

  test("so many headers that Node would not show the proxy's are refused", async () => {
    await using port = await startBehind(1);
    using client = await port.connect();
    const many = `x-forwarded-for: 10.0.0.1\r\n${"a:b\r\n".repeat(1_100)}x-forwarded-for: 203.0.113.7\r\n`;
    await client.send(`GET / HTTP/1.1\r\nhost: a\r\n${many}connection: close\r\n\r\n`);
    expect((await client.closed()).toString()).toMatch(/^HTTP\/1\.1 431 /);
  });

  test("several lines are one list, over HTTP/2, and the log has both addresses", async () => {
    await using port = await startBehind(1);
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":path": "/", "x-forwarded-for": ["10.0.0.1", "203.0.113.7"] });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(200);
    await once(stream.resume(), "close");
    await port.drain(60_000);
    expect(port.lines).toMatchObject([{ remoteAddress: "203.0.113.7", peerAddress: "127.0.0.1" }]);
  });

  test("the log has the proxy's address only, if it does not say whom it speaks for", async () => {
    await using port = await startBehind(1);
    await fetch(port.origin, { headers: { "x-forwarded-for": "203.0.113.7, unknown" } });
    await port.drain(60_000);
    expect(port.lines).toMatchObject([{ peerAddress: "127.0.0.1" }]);
    expect(port.lines[0]).not.toHaveProperty("remoteAddress");
  });
});
