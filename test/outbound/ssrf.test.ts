import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { fakeLookup, localNetwork, response, startUpstream, type Upstream } from "./network.ts";
import { brokenPaths, brokenUrls, deniedHosts, noHosts } from "./ssrf-vectors.ts";

let upstream: Upstream;
beforeAll(async () => {
  upstream = await startUpstream(response("reached"));
});
afterAll(() => upstream[Symbol.asyncDispose]());

type Zone = Parameters<typeof fakeLookup>[0];

/** A client whose network ends at this machine, and what it tried. */
function client(allow: string, zone: Zone = {}) {
  const network = localNetwork();
  const dns = fakeLookup(zone);
  const outbound = createOutbound({
    allow: parseOutboundAllow(allow),
    lookup: dns.lookup,
    connect: network.connect,
  });
  const get = async (baseUrl: string, path = "/") => {
    const hitsBefore = upstream.connections;
    const outcome = await outbound.send({ share: "acme", baseUrl, method: "GET", path }).then(
      (reply) => ({ status: reply.status }),
      (error: unknown) => error,
    );
    await outbound.close();
    return { outcome, dialled: network.dialled, asked: dns.asked, hits: upstream.connections - hitsBefore };
  };
  return { get, checkBaseUrl: outbound.checkBaseUrl };
}

const everything = "127.0.0.0/8,::1,0.0.0.0/0,::/0";
const denied = { reason: "ADDRESS_DENIED", kind: "permission_denied" };
const loopback = ["127.0.0.1", "::1"];

const localNames: Zone = {
  localhost: loopback,
  "localhost.": loopback,
  "a.localhost": loopback,
  "metadata.google.internal": ["169.254.169.254"],
  "metadata.google.internal.": ["169.254.169.254"],
};

describe("a host that is not on the public internet", () => {
  test.each(deniedHosts)("row %i: %s is neither resolved nor connected to", async (_, host) => {
    const { outcome, dialled, asked, hits } = await client("", localNames).get(
      `http://${host}:${upstream.port}`,
    );
    expect(outcome).toMatchObject(denied);
    expect({ dialled, asked, hits }).toEqual({ dialled: [], asked: [], hits: 0 });
  });

  test.each(deniedHosts)("row %i: %s cannot be saved as a base URL", (_, host) => {
    expect(() => client("").checkBaseUrl(`https://${host}/api`)).toThrow(
      expect.objectContaining({ reason: "ADDRESS_DENIED", kind: "invalid_argument" }),
    );
  });

  test.each(deniedHosts.filter(([, , when]) => when === "always"))(
    "row %i: %s is not called even when everything is allowed",
    async (_, host) => {
      const { outcome, dialled, hits } = await client(everything, localNames).get(
        `http://${host}:${upstream.port}`,
      );
      expect(outcome).toMatchObject(denied);
      expect({ dialled, hits }).toEqual({ dialled: [], hits: 0 });
    },
  );

  test.each(deniedHosts.filter(([, , when]) => when === "unless allowed"))(
    "row %i: %s is called when everything is allowed",
    async (_, host) => {
      const { outcome, dialled } = await client(everything, localNames).get(
        `http://${host}:${upstream.port}`,
      );
      expect(dialled).not.toEqual([]);
      expect(outcome).not.toMatchObject({ reason: "ADDRESS_DENIED" });
    },
  );

  test("a refusal names the setting that would allow it", async () => {
    const { outcome } = await client("", { "bank.internal": ["10.1.2.3"] }).get("http://bank.internal");
    expect(String(outcome)).toContain("bank.internal may not be called");
    expect(String(outcome)).toContain("PATCHBAY_OUTBOUND_ALLOW");
    expect(String(outcome)).not.toContain("10.1.2.3");
  });
});

describe("a host that is not one", () => {
  test.each(noHosts)("row 12: %s is refused before anything is resolved", async (host) => {
    const { outcome, asked, dialled } = await client(everything).get(`http://${host}/`);
    expect(outcome).toMatchObject({ reason: "INVALID_BASE_URL", kind: "invalid_argument" });
    expect({ asked, dialled }).toEqual({ asked: [], dialled: [] });
  });
});

describe("what a name resolves to", () => {
  test.each<[number, string, readonly string[]]>([
    [13, "intern.example", ["127.0.0.1"]],
    [17, "mixed.example", ["93.184.216.34", "127.0.0.1"]],
    [17, "dual.example", ["93.184.216.34", "::1"]],
    [18, "mapped.example", ["::ffff:127.0.0.1"]],
    [18, "nat64.example", ["64:ff9b::7f00:1"]],
    [18, "alias-of-metadata.example", ["169.254.169.254"]],
    [18, "scoped.example", ["fe80::1%1"]],
    [18, "oddly-scoped.example", ["fe80::1%eth-0"]],
    [18, "not-even-an-address.example", ["127.1"]],
  ])("row %i: %s is refused as a whole, and no connection is tried", async (_, name, addresses) => {
    const { outcome, asked, dialled, hits } = await client("", { [name]: addresses }).get(
      `http://${name}:${upstream.port}`,
    );
    expect(outcome).toMatchObject(denied);
    expect({ asked, dialled, hits }).toEqual({ asked: [name], dialled: [], hits: 0 });
  });

  test("public addresses are connected to", async () => {
    const addresses = ["93.184.216.34", "2606:2800:220:1::1"];
    const { outcome, dialled } = await client("", { "ok.example": addresses }).get("http://ok.example");
    expect(dialled).toEqual(addresses);
    expect(outcome).toMatchObject({ reason: "UPSTREAM_UNREACHABLE", metadata: { stage: "TCP" } });
  });

  test.each([
    ["bank.internal", true],
    ["BANK.internal", true],
    ["bank.internal.", true],
    ["b\u00e4nk.internal", true],
    ["any.corp.example", true],
    ["b\u0430nk.internal", false],
    ["xn--bnk-6cd.internal", false],
    ["evilbank.internal", false],
    ["bank.internal.evil.example", false],
    ["sub.bank.internal", false],
    ["corp.example", false],
    ["evilcorp.example", false],
  ])(
    "row 16: an allow-list with bank.internal, bänk.internal and *.corp.example lets %s through: %s",
    async (name, passes) => {
      const zone = new Proxy({}, { get: () => loopback }) as Zone;
      const allow = "bank.internal, bänk.internal, *.corp.example";
      const { outcome, hits } = await client(allow, zone).get(`http://${name}:${upstream.port}`);
      expect(hits).toBe(passes ? 1 : 0);
      expect(outcome).toMatchObject(passes ? { status: 200 } : denied);
    },
  );

  test("an allow-listed name still cannot lead to a metadata service", async () => {
    const { outcome, dialled } = await client("bank.internal", { "bank.internal": ["169.254.169.254"] }).get(
      "http://bank.internal",
    );
    expect(outcome).toMatchObject(denied);
    expect(dialled).toEqual([]);
  });

  test("row 19: a name that turns from public to loopback is looked up once per connect, and never reaches us", async () => {
    let turn = 0;
    const dns = fakeLookup({
      "rebind.example": () => (turn++ % 2 === 0 ? ["93.184.216.34"] : ["127.0.0.1"]),
    });
    const network = localNetwork();
    const outbound = createOutbound({
      allow: parseOutboundAllow(""),
      lookup: dns.lookup,
      connect: network.connect,
    });
    const before = upstream.connections;
    const reasons: unknown[] = [];
    for (let i = 0; i < 100; i++) {
      const baseUrl = `http://rebind.example:${upstream.port}`;
      await outbound
        .send({ share: "acme", baseUrl, method: "GET", path: "/" })
        .catch((error) => reasons.push(error.reason));
    }
    await outbound.close();
    expect(reasons.filter((reason) => reason === "UPSTREAM_UNREACHABLE")).toHaveLength(50);
    expect(reasons.filter((reason) => reason === "ADDRESS_DENIED")).toHaveLength(50);
    expect(dns.asked).toHaveLength(100);
    expect(upstream.connections - before).toBe(0);
  });

  test.each(["http", "https"])(
    "row 20: an %s connection that ends at another address than the lookup gave is closed before the first byte",
    async (scheme) => {
      const { lookup } = fakeLookup({ "ok.example": ["93.184.216.34"] });
      const { connect } = localNetwork();
      // As a transparent proxy or a fault in the resolver would: the address was checked, the socket is elsewhere.
      const elsewhere: typeof connect = (options) => connect({ ...options, host: "127.0.0.1" });
      await using victim = await startUpstream(response("reached"));
      const outbound = createOutbound({ allow: parseOutboundAllow(""), lookup, connect: elsewhere });
      const sent = outbound.send({
        share: "acme",
        baseUrl: `${scheme}://ok.example:${victim.port}`,
        method: "GET",
        path: "/",
      });
      await expect(sent).rejects.toMatchObject(denied);
      await victim.abandoned();
      expect(victim).toMatchObject({ connections: 1, received: "" });
      await outbound.close();
    },
  );
});

describe("an allow-list entry with a port", () => {
  test.each([
    ["127.0.0.1:PORT", 200],
    ["127.0.0.1:1", "ADDRESS_DENIED"],
    ["localhost:PORT,[::1]:PORT", "ADDRESS_DENIED"],
  ])("%s answers a call to 127.0.0.1:PORT with %s", async (allow, expected) => {
    const { outcome } = await client(allow.replaceAll("PORT", String(upstream.port))).get(upstream.origin);
    expect(outcome).toMatchObject(expected === 200 ? { status: 200 } : { reason: expected });
  });

  test("opens that port of a name, and no other", async () => {
    const allow = `bank.internal:${upstream.port}`;
    const zone = { "bank.internal": loopback };
    expect(await client(allow, zone).get(`http://bank.internal:${upstream.port}`)).toMatchObject({ hits: 1 });
    expect((await client(allow, zone).get("http://bank.internal:81")).outcome).toMatchObject(denied);
  });
});

describe("a base URL that parsers repair", () => {
  test.each(brokenUrls)(
    "row %i: %j is refused on its raw text, and its secrets are not repeated",
    async (_, raw) => {
      const { outcome, asked, dialled } = await client(everything, { "ok.example": loopback }).get(raw);
      expect(outcome).toMatchObject({ reason: "INVALID_BASE_URL", kind: "invalid_argument" });
      expect(String(outcome)).not.toContain("hunter2");
      expect({ asked, dialled }).toEqual({ asked: [], dialled: [] });
      expect(() => client(everything).checkBaseUrl(raw)).toThrow(
        expect.objectContaining({ reason: "INVALID_BASE_URL" }),
      );
    },
  );

  test.each([
    ["https://Bank.Example", "https://bank.example"],
    ["https://bank.example/", "https://bank.example"],
    ["HTTPS://bank.example:443/api/v1/", "https://bank.example/api/v1"],
    ["http://bank.example:8080/api%20one", "http://bank.example:8080/api%20one"],
    ["http://bänk.example", "http://xn--bnk-qla.example"],
    ["http://[2606:2800:220:1::1]:8080", "http://[2606:2800:220:1::1]:8080"],
    ["http://my_service.example", "http://my_service.example"],
  ])("%s is a good one, stored as %s", (raw, stored) => {
    expect(client("").checkBaseUrl(raw)).toBe(stored);
    expect(client("").checkBaseUrl(stored)).toBe(stored);
  });
});

describe("a path that would mean another one", () => {
  test.each(brokenPaths)("row %i: %j is refused and nothing is sent", async (_, path) => {
    const { outcome, dialled } = await client(everything).get(`${upstream.origin}/api`, path);
    expect(outcome).toMatchObject({ reason: "INVALID_PATH", kind: "invalid_argument" });
    expect(dialled).toEqual([]);
  });

  test.each([
    "/",
    "/v1/users",
    "/v1/users/",
    "/a//b",
    "/...",
    "/.well-known/x",
    "/a..b/..c",
    "/a;v=1/b",
    "/files/a%2Fb",
    `/files/${encodeURIComponent("a/b?x#y é %")}`,
    "/100%25",
    "/%5Bx%5D",
    "/x@y:z,1!$&'()*+=~",
  ])("%s is sent byte by byte as it was given", async (path) => {
    const before = upstream.received.length;
    const { outcome } = await client(everything).get(`${upstream.origin}/api/`, path);
    expect(outcome).toEqual({ status: 200 });
    expect(upstream.received.slice(before)).toMatch(/^GET /);
    expect(upstream.received.slice(before).split("\r\n")[0]).toBe(`GET /api${path} HTTP/1.1`);
  });
});
