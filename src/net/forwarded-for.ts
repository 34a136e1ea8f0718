import { isIP } from "node:net";
import { withoutOuterSpace, type Request } from "#src/platform/http.ts";
import { canonicalAddress } from "#src/platform/ip.ts";

/**
 * The address of the client. Each proxy appends the address that it was called from to `X-Forwarded-For`, so with n
 * proxies to be trusted it is the nth from the right; whatever is left of it, the client may have made up. Undefined
 * if there is no such entry, or it is no address.
 */
export function clientAddressOf({ socket, headers }: Request, trustedProxyHops: number): string | undefined {
  if (trustedProxyHops === 0) return canonicalAddress(socket.remoteAddress);
  // Of several lines, Node makes one, in their order.
  const entries = [headers["x-forwarded-for"] ?? []].flat().join().split(",");
  return addressIn(entries.at(-trustedProxyHops) ?? "");
}

/** Some proxies add the port, and to IPv6 brackets. Without brackets, a port would read as a part of the address. */
const shape =
  /^(?:(?<v4>[\d.]+)(?::(?<port4>\d{1,5}))?|\[(?<v6>[\da-f:.]+)\](?::(?<port6>\d{1,5}))?|(?<bare>[\da-f:.]+))$/i;

/** The address of one entry, in its usual spelling; undefined if it is anything but an address. */
function addressIn(entry: string): string | undefined {
  const { v4, v6, bare, port4, port6 } = shape.exec(withoutOuterSpace(entry))?.groups ?? {};
  const address = v4 ?? v6 ?? bare ?? "";
  if (isIP(address) !== (v4 === undefined ? 6 : 4) || Number(port4 ?? port6 ?? 0) > 65_535) return undefined;
  return canonicalAddress(address);
}
