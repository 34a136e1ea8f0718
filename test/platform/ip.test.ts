import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalAddress, readAddress, readNetwork, within } from "#src/platform/ip.ts";

const octet = fc.nat({ max: 255 });
const ipv4 = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join("."));

/** Every way to write an IPv4 address, of which sockets, proxies and people use any. */
function spellingsOf(address: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
  const high = ((a << 8) | b).toString(16);
  const low = ((c << 8) | d).toString(16);
  const tails = [address, `${high}:${low}`, `${high.padStart(4, "0")}:${low.padStart(4, "0")}`];
  const heads = ["::ffff:", "::FFFF:", "0:0:0:0:0:ffff:", "0000:0000:0000:0000:0000:FfFf:", "0::0:ffff:"];
  return [address, ...heads.flatMap((head) => tails.map((tail) => head + tail))];
}

test("an IPv4 address is the same in every spelling, on either side of a comparison", () => {
  fc.assert(
    fc.property(ipv4, fc.nat({ max: 32 }), ipv4, (address, bits, other) => {
      for (const spelled of spellingsOf(address)) {
        expect(canonicalAddress(spelled)).toBe(address);
        const length = spelled.includes(":") ? bits + 96 : bits;
        const network = readNetwork(`${spelled}/${length}`)!;
        expect(within(readAddress(address)!, network)).toBe(true);
        const expected = within(readAddress(other)!, readNetwork(`${address}/${bits}`)!);
        for (const asked of spellingsOf(other)) expect(within(readAddress(asked)!, network)).toBe(expected);
      }
    }),
  );
});

test("a network holds what shares its first bits, also if it is written with others", () => {
  fc.assert(
    fc.property(ipv4, fc.nat({ max: 32 }), ipv4, (base, bits, address) => {
      const number = (text: string) => text.split(".").reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
      const [a, b] = [number(base) >> BigInt(32 - bits), number(address) >> BigInt(32 - bits)];
      expect(within(readAddress(address)!, readNetwork(`${base}/${bits}`)!)).toBe(a === b);
    }),
  );
});

test.each([
  ["::ffff:10.1.2.3", "10.1.2.3", true],
  ["::ffff:10.1.2.3", "10.1.2.4", false],
  ["::ffff:10.0.0.0/104", "10.200.0.1", true],
  ["::FFFF:0A00:0/104", "10.200.0.1", true],
  ["::ffff:10.0.0.0/104", "11.0.0.1", false],
  ["::ffff:0:0/96", "203.0.113.7", true],
  ["::ffff:0:0/96", "::1", false],
  ["10.1.2.3/8", "10.200.0.1", true],
  ["0.0.0.0/0", "::ffff:203.0.113.7", true],
  ["0.0.0.0/0", "2001:db8::1", false],
  ["::/0", "2001:db8::1", true],
  ["::/0", "203.0.113.7", false],
  ["2001:DB8:0:0::/32", "2001:db8:ffff::1", true],
  ["2001:db8::1.2.3.4", "2001:db8::102:304", true],
  // An address of IPv6 itself, though it ends like one of IPv4.
  ["::1.2.3.4", "::102:304", true],
  ["::1.2.3.4", "1.2.3.4", false],
  ["64:ff9b::10.0.0.1", "10.0.0.1", false],
])("%s holds %s: %s", (network, address, expected) => {
  expect(within(readAddress(address)!, readNetwork(network)!)).toBe(expected);
});

describe("a text is no network", () => {
  test.each([
    "",
    "/8",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0.0/8 ",
    "10.0.0/8",
    "010.0.0.0/8",
    "0x0a000000",
    "167772160",
    "::/129",
    "fe80::1%eth0",
    "fe80::%eth0/10",
    "[::1]",
    "10.0.0.1:80",
    "localhost",
    // IPv4 and 63 times as much that is no address: neither can be meant.
    "::ffff:10.0.0.0/95",
    "::ffff:0:0/90",
  ])("%j", (text) => {
    expect(readNetwork(text)).toBeUndefined();
  });
});

test("whatever Node takes for an address is one, of the same version, unless it has a zone", () => {
  const text = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.string({ unit: fc.constantFrom(..."0123456789abcfF:.%/e".split("")) }),
  );
  fc.assert(
    fc.property(text, (text) => {
      const address = readAddress(text);
      expect(address !== undefined).toBe(isIP(text) !== 0 && !text.includes("%"));
      expect(canonicalAddress(canonicalAddress(text))).toBe(canonicalAddress(text));
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ["fe80::1%eth0", "fe80::1"],
  ["fe80::1%br-lan.100", "fe80::1"],
  ["FE80::1%2", "fe80::1"],
  ["::ffff:10.1.2.3%lo", "10.1.2.3"],
  ["::1", "::1"],
  ["", undefined],
  ["%eth0", undefined],
  ["unix", undefined],
  [undefined, undefined],
])("the address of a socket that shows %s is %s", (shown, expected) => {
  expect(canonicalAddress(shown)).toBe(expected);
});
