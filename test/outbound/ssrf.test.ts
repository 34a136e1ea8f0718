import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { fakeLookup, localNetwork, response, startUpstream, type Upstream } from "./network.ts";

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

/** Row of the threat table, host, whether it stays denied when everything is allowed. */
const hosts: [number, string, "always" | "unless allowed"][] = [
  [1, "127.0.0.1", "unless allowed"],
  [1, "127.255.255.254", "unless allowed"],
  [1, "127.1", "unless allowed"],
  [1, "[::1]", "unless allowed"],
  [2, "2130706433", "unless allowed"],
  [2, "0177.0.0.1", "unless allowed"],
  [2, "127.0.0.01", "unless allowed"],
  [2, "0x7f.1", "unless allowed"],
  [2, "0x7f000001", "unless allowed"],
  [3, "0.0.0.0", "always"],
  [3, "0", "always"],
  [3, "0x", "always"],
  [3, "[::]", "always"],
  [3, "0.1.2.3", "always"],
  [4, "[::ffff:127.0.0.1]", "unless allowed"],
  [4, "[::ffff:7f00:1]", "unless allowed"],
  [4, "[0:0:0:0:0:ffff:7f00:1]", "unless allowed"],
  [5, "[::127.0.0.1]", "unless allowed"],
  [5, "[4000::1]", "unless allowed"],
  [6, "[::ffff:0:127.0.0.1]", "unless allowed"],
  [6, "[64:ff9b::7f00:1]", "unless allowed"],
  [6, "[64:ff9b:1::7f00:1]", "unless allowed"],
  [6, "[2002:7f00:1::]", "unless allowed"],
  [6, "[2001::1]", "unless allowed"],
  [7, "10.0.0.1", "unless allowed"],
  [7, "172.16.0.1", "unless allowed"],
  [7, "192.168.0.1", "unless allowed"],
  [7, "100.64.0.1", "unless allowed"],
  [7, "[fc00::1]", "unless allowed"],
  [7, "[fec0::1]", "unless allowed"],
  [8, "169.254.169.254", "always"],
  [8, "2852039166", "always"],
  [8, "0xa9fea9fe", "always"],
  [8, "0251.0376.0251.0376", "always"],
  [8, "[::ffff:a9fe:a9fe]", "always"],
  [8, "169.254.170.2", "always"],
  [8, "[fe80::1]", "always"],
  [8, "[64:ff9b::a9fe:a9fe]", "always"],
  [8, "[64:ff9b:1::a9fe:a9fe]", "always"],
  [8, "[::ffff:0:a9fe:a9fe]", "always"],
  [8, "[::a9fe:a9fe]", "always"],
  [8, "[2002:a9fe:a9fe::]", "always"],
  [9, "[fd00:ec2::254]", "always"],
  [9, "[fd20:ce::254]", "always"],
  [9, "[fd00:c1::a9fe:a9fe]", "always"],
  [9, "[fd00:42::42]", "always"],
  [9, "100.100.100.200", "always"],
  [9, "192.0.0.192", "always"],
  [10, "168.63.129.16", "always"],
  [11, "224.0.0.1", "always"],
  [11, "[ff02::1]", "always"],
  [11, "255.255.255.255", "unless allowed"],
  [11, "240.0.0.1", "unless allowed"],
  [11, "198.18.0.1", "unless allowed"],
  [13, "localhost", "unless allowed"],
  [13, "LOCALHOST", "unless allowed"],
  [13, "a.localhost", "unless allowed"],
  [13, "localhost.", "unless allowed"],
  [13, "localhost%2E", "unless allowed"],
  [14, "127.0.0.1.", "unless allowed"],
  [14, "169.254.169.254.", "always"],
  [14, "metadata.google.internal", "always"],
  [14, "metadata.google.internal.", "always"],
  [15, "１２７.0.0.1", "unless allowed"],
  [15, "127。0。0。1", "unless allowed"],
  [15, "①②⑦.⓪.⓪.①", "unless allowed"],
  [15, "ⓛocalhost", "unless allowed"],
  [15, "loc\u00adalhost", "unless allowed"],
  [15, "%31%32%37.0.0.1", "unless allowed"],
];

const localNames: Zone = {
  localhost: loopback,
  "localhost.": loopback,
  "a.localhost": loopback,
  "metadata.google.internal": ["169.254.169.254"],
  "metadata.google.internal.": ["169.254.169.254"],
};

describe("a host that is not on the public internet", () => {
  test.each(hosts)("row %i: %s is neither resolved nor connected to", async (_, host) => {
    const { outcome, dialled, asked, hits } = await client("", localNames).get(
      `http://${host}:${upstream.port}`,
    );
    expect(outcome).toMatchObject(denied);
    expect({ dialled, asked, hits }).toEqual({ dialled: [], asked: [], hits: 0 });
  });

  test.each(hosts)("row %i: %s cannot be saved as a base URL", (_, host) => {
    expect(() => client("").checkBaseUrl(`https://${host}/api`)).toThrow(
      expect.objectContaining({ reason: "ADDRESS_DENIED", kind: "invalid_argument" }),
    );
  });

  test.each(hosts.filter(([, , when]) => when === "always"))(
    "row %i: %s is not called even when everything is allowed",
    async (_, host) => {
      const { outcome, dialled, hits } = await client(everything, localNames).get(
        `http://${host}:${upstream.port}`,
      );
      expect(outcome).toMatchObject(denied);
      expect({ dialled, hits }).toEqual({ dialled: [], hits: 0 });
    },
  );

  test.each(hosts.filter(([, , when]) => when === "unless allowed"))(
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
  test.each([
    ["[fe80::1%25eth0]"],
    ["256.1.1.1"],
    ["ok..example"],
    ["ok.example.."],
    [".ok.example"],
    ["ok.example%00.x"],
    ["ok.example%2f.x"],
    ["ok,example"],
    ["ok.example:99999"],
    ["ok.example:0"],
    [`${"a".repeat(64)}.example`],
  ])("row 12: %s is refused before anything is resolved", async (host) => {
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
  test.each([
    [21, "http://ok.example@127.0.0.1/"],
    [21, "http://ok.example:80@127.0.0.1/"],
    [21, "http://u:hunter2@ok.example/"],
    [21, "http://@ok.example/"],
    [22, "http:\\\\127.0.0.1\\"],
    [22, "http://ok.example\\@127.0.0.1/"],
    [22, "http:127.0.0.1"],
    [22, "http:/127.0.0.1"],
    [22, "http:///127.0.0.1"],
    [22, "ht\ttp://127.0.0.1/"],
    [22, "http://127.0.\n0.1/"],
    [22, " http://127.0.0.1/"],
    [22, "http://127.0.0.1/\u0000"],
    [23, "http://127.0.0.1#@ok.example/"],
    [23, "http://ok.example/?token=hunter2"],
    [23, "http://ok.example?"],
    [23, "http://ok.example/#"],
    [24, "file:///etc/hostname"],
    [24, "ftp://ok.example/"],
    [24, "data:text/plain,x"],
    [24, "gopher://ok.example/"],
    [24, "unix:/var/run/docker.sock"],
    [24, "http+unix://%2Fvar%2Frun%2Fdocker.sock/"],
    [24, "/var/run/docker.sock"],
    [24, "//ok.example/"],
    [24, ""],
    [27, "http://ok.example/api/../admin"],
    [27, "http://ok.example/api/%2e%2e/admin"],
    [27, "http://ok.example//evil.example/"],
    [27, "http://ok.example/a b"],
  ])("row %i: %j is refused on its raw text, and its secrets are not repeated", async (_, raw) => {
    const { outcome, asked, dialled } = await client(everything, { "ok.example": loopback }).get(raw);
    expect(outcome).toMatchObject({ reason: "INVALID_BASE_URL", kind: "invalid_argument" });
    expect(String(outcome)).not.toContain("hunter2");
    expect({ asked, dialled }).toEqual({ asked: [], dialled: [] });
    expect(() => client(everything).checkBaseUrl(raw)).toThrow(
      expect.objectContaining({ reason: "INVALID_BASE_URL" }),
    );
  });

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
  test.each([
    [25, "//evil.example/x"],
    [25, "/\\evil.example"],
    [25, "\\\\evil.example"],
    [25, "https://evil.example/"],
    [25, "http:evil.example"],
    [25, " /x"],
    [25, "\t/x"],
    [26, "@evil.example/"],
    [26, ".evil.example/"],
    [26, ":8080/"],
    [27, "/../x"],
    [27, "/.."],
    [27, "/a/./x"],
    [27, "/%2e%2e/x"],
    [27, "/.%2e/x"],
    [27, "/..%2fx"],
    [27, "/a%2f..%2fx"],
    [27, "/..%5cx"],
    [27, "/..;/x"],
    [27, "/..;a=b/x"],
    [27, "/..%3b/x"],
    [27, "/..%20/x"],
    [27, "/..%3fx"],
    [27, "/%252e%252e/x"],
    [27, "/%25252e%25252e/x"],
    [27, "/%2525252525252e%2525252525252e/x"],
    [27, "/%c0%ae%c0%ae/x"],
    [27, "/%ef%bc%8e%ef%bc%8e/x"],
    [28, `/${encodeURIComponent("..")}`],
    [29, "/a\r\nx-injected: 1"],
    [29, "/a\u0000"],
    [29, "/a%0d%0ax-injected:%201"],
    [29, "/a%00"],
    [29, "/a%250ab"],
    [29, "/a b"],
    [29, "/a\tb"],
    [29, "/café"],
    [29, "/a?x=1"],
    [29, "/a#x"],
    [29, "/100%"],
    [29, "/%zz"],
    [29, "/%e9"],
  ])("row %i: %j is refused and nothing is sent", async (_, path) => {
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
