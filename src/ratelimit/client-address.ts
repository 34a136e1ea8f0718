import { isIPv4 } from "node:net";
import ipaddr from "ipaddr.js";
import { readAddress } from "#src/platform/ip.ts";

/**
 * The name under which a client address is counted. For IPv6 it is the /64, which is what one subscriber gets:
 * counted one by one, a subscriber's addresses would never run out.
 */
export function clientNameOf(remoteAddress: string | undefined): string {
  // Most addresses are IPv4, and this runs on each request.
  if (remoteAddress !== undefined && isIPv4(remoteAddress)) return remoteAddress;
  const address = readAddress(remoteAddress ?? "");
  if (!(address instanceof ipaddr.IPv6)) return address?.toString() ?? "unknown";
  const network = address.parts.slice(0, 4);
  return `${network.map((part) => part.toString(16)).join(":")}::/64`;
}
