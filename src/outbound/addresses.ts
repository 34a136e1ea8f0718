import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** An IP address, IPv4-mapped ones as the IPv4 they mean. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** A network: its base and the number of leading bits that count. */
export type Network = readonly [Address, number];

/** The address that sockets and resolvers write this way; undefined for any other text. */
export function readAddress(text: string): Address | undefined {
  // Only with isIP: ipaddr.js also reads `1` and `0x7f.1`, and throws for zones that isIP takes.
  return isIP(text) !== 0 && ipaddr.isValid(text) ? ipaddr.process(text) : undefined;
}

export function within(address: Address, [base, bits]: Network): boolean {
  return address.kind() === base.kind() && address.match(base, bits);
}

/** Addresses that answer with this machine's cloud identity; link-local ones are refused as such. */
const metadataServices = [
  "168.63.129.16/32", // Azure
  "100.100.100.200/32", // Alibaba
  "192.0.0.192/32", // Oracle
  "fd00:ec2::254/128", // AWS
  "fd20:ce::254/128", // Google
  "fd00:c1::a9fe:a9fe/128", // Oracle
  "fd00:42::42/128", // Scaleway
].map((text): Network => ipaddr.parseCIDR(text));

/** Whether no setting may open the address: metadata, link-local, multicast, unspecified. */
export function isNeverCalled(address: Address): boolean {
  return (
    ["unspecified", "linkLocal", "multicast"].includes(address.range()) ||
    metadataServices.some((network) => within(address, network)) ||
    embedded(address).some(isNeverCalled)
  );
}

const globalUnicast = ipaddr.parseCIDR("2000::/3");

/** Whether the address belongs to the public internet. */
export function isPublic(address: Address): boolean {
  if (isNeverCalled(address) || address.range() !== "unicast") return false;
  // For ipaddr.js everything without a special meaning is unicast, also what nobody has assigned yet.
  return address.kind() === "ipv4" || within(address, globalUnicast);
}

/** Networks whose last 32 bits are an IPv4 address that a translator or tunnel forwards to. */
const ipv4Carriers = ["64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96"].map((text): Network =>
  ipaddr.parseCIDR(text),
);

/** The IPv4 address inside, because an allow-listed NAT64 prefix would lead to the metadata service too. */
function embedded(address: Address): ipaddr.IPv4[] {
  if (address.range() === "loopback") return [];
  const bytes = address.toByteArray();
  if (address.range() === "6to4") return [new ipaddr.IPv4(bytes.slice(2, 6))];
  if (ipv4Carriers.some((network) => within(address, network))) return [new ipaddr.IPv4(bytes.slice(12))];
  return [];
}
