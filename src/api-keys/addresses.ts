import { readAddress, readNetwork, within } from "#src/platform/ip.ts";

/** Whether a client may present a key from its address. An unknown address is on no list. */
export type AddressCheck = (address: string | undefined) => boolean;

/** What is wrong with a list of addresses, in words for whoever gave it; undefined if nothing is. */
export function cidrsProblem(cidrs: readonly string[]): string | undefined {
  const wrong = cidrs.find((cidr) => readNetwork(cidr) === undefined);
  return wrong === undefined
    ? undefined
    : `${JSON.stringify(wrong)} is neither an address nor a network; write 10.1.2.3, 10.0.0.0/8 or 2001:db8::/32`;
}

/** The check of a list; an empty list lets every client in. */
export function addressCheck(cidrs: readonly string[]): AddressCheck {
  if (cidrs.length === 0) return () => true;
  const networks = cidrs.map(readNetwork).filter((network) => network !== undefined);
  return (shown) => {
    const address = readAddress(shown ?? "");
    return address !== undefined && networks.some((network) => within(address, network));
  };
}
