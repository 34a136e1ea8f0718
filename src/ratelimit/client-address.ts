import ipaddr from "ipaddr.js";
import { isIPv4 } from "node:net";

/**
 * The name under which a client address is counted. Of IPv6 it is the /64, which is what one subscriber gets:
 * counted one by one, its addresses would never run out.
 */
export function clientNameOf(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return "unknown";
  // Most are, and it is asked on each request.
  if (isIPv4(remoteAddress)) return remoteAddress;
  // A socket that takes both versions shows 10.0.0.1 as ::ffff:10.0.0.1.
  const address = ipaddr.process(remoteAddress);
  if (address instanceof ipaddr.IPv4) return address.toString();
  const network = address.parts.slice(0, 4);
  return `${network.map((part) => part.toString(16)).join(":")}::/64`;
}
