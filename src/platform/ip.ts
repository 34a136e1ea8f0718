import { isIP, isIPv4 } from "node:net";
import ipaddr from "ipaddr.js";
import { LRUCache } from "lru-cache";
import { upTo } from "./up-to.ts";

/** An IP address. IPv4 that came over IPv6, as in `::ffff:10.0.0.1`, is the IPv4 that it means. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** The addresses that share the first bits of `base`. Those of IPv6 say nothing of IPv4. */
export interface Network {
  readonly base: Address;
  readonly bits: number;
}

/**
 * The address in a text, in any spelling; undefined for any other text. Whatever is compared with an address is read
 * here as well, so that no spelling of an address escapes the comparison.
 */
export function readAddress(text: string): Address | undefined {
  const literal = readLiteral(text);
  return literal instanceof ipaddr.IPv6 && isMapped(literal) ? literal.toIPv4Address() : literal;
}

/** The network in a text, such as `10.0.0.0/8`; an address alone is a network of one. */
export function readNetwork(text: string): Network | undefined {
  const [address = "", length, ...rest] = text.split("/");
  const base = readLiteral(address);
  if (base === undefined || rest.length > 0) return undefined;
  const all = base.kind() === "ipv4" ? 32 : 128;
  if (length !== undefined && !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const bits = length === undefined ? all : Number(length);
  if (bits > all) return undefined;
  if (!(base instanceof ipaddr.IPv6 && isMapped(base))) return { base, bits };
  // With fewer bits it holds all of IPv4 and much that is no address at all: no caller means that.
  return bits < mappedBits ? undefined : { base: base.toIPv4Address(), bits: bits - mappedBits };
}

/** Whether the address belongs to the network. */
export function within(address: Address, { base, bits }: Network): boolean {
  return address.kind() === base.kind() && address.match(base, bits);
}

/**
 * The one spelling of an address that a socket shows, under which it is counted, compared and logged; undefined if it
 * shows none. Without the zone of `fe80::1%eth0`, which says how this machine reached the address.
 */
export function canonicalAddress(shown: string | undefined): string | undefined {
  if (shown === undefined || isIPv4(shown)) return shown;
  const known = canonical.get(shown);
  if (known !== undefined) return known;
  const address = readAddress(shown.replace(/%.*$/s, ""))?.toString();
  if (address !== undefined) canonical.set(shown, address);
  return address;
}

/** Of clients that call again. A socket for both families shows even IPv4 in a spelling that takes long to read. */
const canonical = new LRUCache<string, string>(upTo(1_000));

/** `::ffff:0:0/96` stands for IPv4. */
const mappedBits = 96;

function isMapped(address: ipaddr.IPv6): boolean {
  return address.isIPv4MappedAddress();
}

/** The address as it is written. A zone means something on one machine only. */
function readLiteral(text: string): Address | undefined {
  if (isIP(text) === 4) return ipaddr.IPv4.parse(text);
  return isIP(text) === 0 || text.includes("%") ? undefined : ipaddr.IPv6.parse(withoutDots(text));
}

/** ipaddr.js takes `::1.2.3.4` for `::ffff:1.2.3.4`. */
function withoutDots(text: string): string {
  return text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
}
