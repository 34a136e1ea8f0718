import ipaddr from "ipaddr.js";
import { isIPv4 } from "node:net";

/**
 * The name under which a client address is counted. Of IPv6 it is the /64, which is what one subscriber gets:
 * counted one by one, its addresses would never run out.
 */
export function clientNameOf(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return "unknown";
  // A socket that takes both versions shows IPv4 like this.
  const unmapped = remoteAddress.replace(/^::ffff:/i, "");
  if (isIPv4(unmapped)) return unmapped;
  const network = ipaddr.IPv6.parse(remoteAddress).parts.slice(0, 4);
  return `${network.map((part) => part.toString(16)).join(":")}::/64`;
}
