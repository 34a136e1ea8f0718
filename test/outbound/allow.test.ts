import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseOutboundAllow, permitsAddress } from "#src/outbound/allow.ts";

describe("the allow-list", () => {
  test.each<[string, string, number, string, boolean]>([
    ["10.0.0.0/8", "any.example", 80, "10.255.0.1", true],
    ["10.0.0.0/8", "any.example", 80, "192.168.0.1", false],
    ["10.0.0.7", "any.example", 80, "10.0.0.7", true],
    ["10.0.0.7", "any.example", 80, "10.0.0.8", false],
    ["10.0.0.7:8080", "any.example", 8080, "10.0.0.7", true],
    ["10.0.0.7:8080", "any.example", 80, "10.0.0.7", false],
    ["fd00::/8", "any.example", 80, "fd12::1", true],
    ["::1", "any.example", 80, "::1", true],
    ["[::1]", "any.example", 80, "::1", true],
    ["[::1]:8080", "any.example", 8080, "::1", true],
    ["[::1]:8080", "any.example", 80, "::1", false],
    ["127.0.0.0/8", "any.example", 80, "::ffff:127.0.0.1", true],
    ["::ffff:10.0.0.0/104", "any.example", 80, "10.0.0.1", true],
    ["::FFFF:a00:0/104", "any.example", 80, "::ffff:10.0.0.1", true],
    ["::ffff:10.0.0.0/104", "any.example", 80, "192.168.0.1", false],
    ["::ffff:10.0.0.7", "any.example", 80, "10.0.0.7", true],
    ["[::ffff:10.0.0.7]:8080", "any.example", 8080, "10.0.0.7", true],
    ["10.1.2.3/8", "any.example", 80, "10.255.0.1", true],
    ["::ffff:0:0/96", "any.example", 80, "169.254.169.254", false],
    ["bank.internal", "bank.internal", 80, "10.0.0.1", true],
    ["Bank.Internal.", "bank.internal", 80, "10.0.0.1", true],
    ["bank.internal", "bank.internal.", 80, "10.0.0.1", true],
    ["bank.internal:8443", "bank.internal", 8443, "10.0.0.1", true],
    ["bank.internal:8443", "bank.internal", 443, "10.0.0.1", false],
    ["*.internal", "bank.internal", 80, "10.0.0.1", true],
    ["*.internal:80", "a.bank.internal", 80, "10.0.0.1", true],
    ["*.internal", "internal", 80, "10.0.0.1", false],
    ["*.internal", "evilinternal", 80, "10.0.0.1", false],
    ["localhost", "localhost", 80, "127.0.0.1", true],
    [" a.example , 10.0.0.0/8 ,", "any.example", 80, "10.0.0.1", true],
    ["", "any.example", 80, "10.0.0.1", false],
    ["", "any.example", 80, "93.184.216.34", true],
    ["64:ff9b::/96", "any.example", 80, "64:ff9b::808:808", true],
    ["64:ff9b::/96", "any.example", 80, "64:ff9b::a9fe:a9fe", false],
  ])("%j: %s:%i at %s is permitted: %s", (text, host, port, address, expected) => {
    expect(permitsAddress(parseOutboundAllow(text), host, port, address)).toBe(expected);
  });

  test.each([
    "*",
    "*internal",
    "a.*.internal",
    "https://bank.internal",
    "bank.internal/api",
    "bank.internal:0",
    "bank.internal:70000",
    "bank.internal:http",
    "u@bank.internal",
    "bank internal",
    "10.0.0.0/33",
    "10.0.0/8",
    "127.1",
    "::1/129",
    "::ffff:10.0.0.0/95",
    "fd00::1%eth0",
    "[10.0.0.0/8]",
    "[bank.internal]",
    "[::1]:0",
    "..",
    "bank..internal",
  ])("%j is refused with a text that repeats it", (item) => {
    expect(() => parseOutboundAllow(`ok.internal,${item}`)).toThrow(`"${item}" is not something to allow`);
  });

  test("whatever it says, no link-local, multicast or unspecified address is permitted", () => {
    const everything = parseOutboundAllow("0.0.0.0/0,::/0,*.example,any.example");
    const byte = fc.integer({ min: 0, max: 255 });
    const group = fc.integer({ min: 0, max: 0xffff }).map((part) => part.toString(16));
    const never = fc.oneof(
      fc.tuple(byte, byte).map(([a, b]) => `169.254.${a}.${b}`),
      fc.tuple(byte, byte, byte).map(([a, b, c]) => `0.${a}.${b}.${c}`),
      fc.tuple(fc.integer({ min: 224, max: 239 }), byte, byte).map(([a, b, c]) => `${a}.${b}.${c}.1`),
      fc.tuple(group, group).map(([a, b]) => `fe80::${a}:${b}`),
      fc.tuple(group, group).map(([a, b]) => `ff02::${a}:${b}`),
      fc.tuple(byte, byte).map(([a, b]) => `::ffff:169.254.${a}.${b}`),
    );
    fc.assert(
      fc.property(never, (address) => {
        expect(permitsAddress(everything, "any.example", 80, address)).toBe(false);
      }),
    );
  });
});
