import ipaddr from "ipaddr.js";
import { readNetwork, within, type Address, type Network } from "#src/platform/ip.ts";

/** Addresses that answer with this machine's cloud identity; link-local ones are refused as such. */
const metadataServices = [
  "168.63.129.16/32", // Azure
  "100.100.100.200/32", // Alibaba
  "192.0.0.192/32", // Oracle
  "fd00:ec2::254/128", // AWS
  "fd20:ce::254/128", // Google
  "fd00:c1::a9fe:a9fe/128", // Oracle
  "fd00:42::42/128", // Scaleway
].map(known);

/** Whether no setting may open the address: metadata, link-local, multicast, unspecified. */
export function isNeverCalled(address: Address): boolean {
  return (
    ["unspecified", "linkLocal", "multicast"].includes(address.range()) ||
    metadataServices.some((network) => within(address, network)) ||
    embedded(address).some(isNeverCalled)
  );
}

const globalUnicast = known("2000::/3");

/** Whether the address belongs to the public internet. */
export function isPublic(address: Address): boolean {
  if (isNeverCalled(address) || address.range() !== "unicast") return false;
  // For ipaddr.js everything without a special meaning is unicast, also what is not assigned yet.
  return address.kind() === "ipv4" || within(address, globalUnicast);
}

/** Networks whose last 32 bits are an IPv4 address that a translator or tunnel forwards to. */
const ipv4Carriers = ["64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96"].map(known);

/** The IPv4 address inside, because an allow-listed NAT64 prefix would lead to the metadata service too. */
function embedded(address: Address): ipaddr.IPv4[] {
  if (address.range() === "loopback") return [];
  const bytes = address.toByteArray();
  if (address.range() === "6to4") return [new ipaddr.IPv4(bytes.slice(2, 6))];
  if (ipv4Carriers.some((network) => within(address, network))) return [new ipaddr.IPv4(bytes.slice(12))];
  return [];
}

function known(text: string): Network {
  const network = readNetwork(text);
  if (network === undefined) throw new Error(`${text} is no network`);
  return network;
}
