import ipaddr from "ipaddr.js";
import { BlockList, isIP } from "node:net";

/** Whether a client may present a key from its address; one that is not known never may. */
export type AddressCheck = (address: string | undefined) => boolean;

/** What is wrong with a list of addresses, in words for whoever gave it; undefined if nothing is. */
export function cidrsProblem(cidrs: readonly string[]): string | undefined {
  const wrong = cidrs.find((cidr) => parseCidr(cidr) === undefined);
  return wrong === undefined
    ? undefined
    : `${JSON.stringify(wrong)} is neither an address nor a network; write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32`;
}

/** The check of a list; an empty list lets everybody in. */
export function addressCheck(cidrs: readonly string[]): AddressCheck {
  if (cidrs.length === 0) return () => true;
  // One of each, since a list that holds ::/0 would let IPv4 in.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const cidr of cidrs) {
    const network = parseCidr(cidr);
    if (network !== undefined)
      lists[network.family].addSubnet(network.address, network.prefix, network.family);
  }
  return (address) => {
    if (address === undefined || isIP(address) === 0) return false;
    // A socket of both versions shows 10.0.0.1 as ::ffff:10.0.0.1.
    const unmapped = ipaddr.process(address);
    return lists[unmapped.kind()].check(unmapped.toString(), unmapped.kind());
  };
}

interface Network {
  readonly address: string;
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

function parseCidr(text: string): Network | undefined {
  const [address = "", length, ...rest] = text.split("/");
  const version = isIP(address);
  // A zone means something on one machine only.
  if (version === 0 || address.includes("%") || rest.length > 0) return undefined;
  const longest = version === 4 ? 32 : 128;
  if (length !== undefined && !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const prefix = length === undefined ? longest : Number(length);
  return prefix > longest ? undefined : { address, prefix, family: version === 4 ? "ipv4" : "ipv6" };
}
