import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { readAddress, readNetwork, within, type Network } from "#src/platform/ip.ts";
import { isNeverCalled, isPublic } from "./addresses.ts";
import { isHostName, withoutDot } from "./hosts.ts";

/** What may be called beside the public internet. */
export interface OutboundAllow {
  /** Host names whose answers may be private; an entry says nothing about any other name. */
  readonly names: readonly AllowedName[];
  /** Networks that may be called, by address or by a name that leads there. */
  readonly networks: readonly AllowedNetwork[];
}

interface AllowedName {
  readonly host: string;
  /** True for `*.host`: the names below it, and not the host itself. */
  readonly below: boolean;
  readonly port: number | undefined;
}

interface AllowedNetwork {
  readonly network: Network;
  readonly port: number | undefined;
}

/** Reads a comma-separated list of `host`, `*.suffix`, `host:port`, addresses and CIDRs. */
export function parseOutboundAllow(text: string): OutboundAllow {
  const names: AllowedName[] = [];
  const networks: AllowedNetwork[] = [];
  for (const item of text.split(",").map((part) => part.trim())) {
    if (item === "") continue;
    const entry = readAllowedNetwork(item) ?? readName(item);
    if (entry === undefined) {
      throw new Error(
        `"${item}" is not something to allow: give a host (bank.internal), the hosts below a name (*.internal), ` +
          "a host with a port (bank.internal:8443), an address (10.0.0.7) or a network (10.0.0.0/8)",
      );
    }
    if ("network" in entry) networks.push(entry);
    else names.push(entry);
  }
  return { names, networks };
}

function readAllowedNetwork(item: string): AllowedNetwork | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^/]+)\]|([\d.]+))(?::(\d{1,5}))?$/.exec(item) ?? [];
  const network = readNetwork(bracketed ?? plain ?? item);
  return network === undefined || !isPort(port) ? undefined : { network, port: portNumber(port) };
}

function readName(item: string): AllowedName | undefined {
  const [, star, name = "", port] = /^(\*\.)?([^*:/@\s]+?)\.?(?::(\d{1,5}))?$/.exec(item) ?? [];
  const host = domainToASCII(name);
  if (!isHostName(host) || isIP(host) !== 0 || !isPort(port)) return undefined;
  return { host, below: star !== undefined, port: portNumber(port) };
}

function isPort(text: string | undefined): boolean {
  return text === undefined || (Number(text) >= 1 && Number(text) <= 65535);
}

function portNumber(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** Names of metadata services, refused before a resolver is asked about them. */
const metadataNames = ["metadata.google.internal", "metadata.goog"];

/** The first check, before anything is resolved: whether this host can ever be called. */
export function permitsHost(allow: OutboundAllow, host: string, port: number): boolean {
  if (isIP(host) !== 0) return permitsAddress(allow, host, port, host);
  const name = withoutDot(host);
  if (metadataNames.includes(name)) return false;
  if (name !== "localhost" && !name.endsWith(".localhost")) return true;
  // Resolvers differ on names below localhost; RFC 6761 says what they all mean.
  return ["127.0.0.1", "::1"].some((address) => permitsAddress(allow, host, port, address));
}

/** Whether the list names the host, so that whoever runs the deployment answers for what it is sent. */
export function isListed(allow: OutboundAllow, host: string, port: number): boolean {
  const name = withoutDot(host);
  const isLocal = name === "localhost" || name.endsWith(".localhost");
  const addresses = (isLocal ? ["127.0.0.1", "::1"] : [host]).flatMap((text) => readAddress(text) ?? []);
  return (
    allow.names.some((entry) => samePort(entry, port) && named(entry, name)) ||
    allow.networks.some(
      (entry) => samePort(entry, port) && addresses.some((address) => within(address, entry.network)),
    )
  );
}

/** The second and third check: whether an address may be called that a host led to. */
export function permitsAddress(allow: OutboundAllow, host: string, port: number, text: string): boolean {
  const address = readAddress(text);
  if (address === undefined || isNeverCalled(address)) return false;
  return (
    isPublic(address) ||
    allow.names.some((entry) => samePort(entry, port) && named(entry, withoutDot(host))) ||
    allow.networks.some((entry) => samePort(entry, port) && within(address, entry.network))
  );
}

function named({ host, below }: AllowedName, name: string): boolean {
  return below ? name.endsWith(`.${host}`) : name === host;
}

function samePort(entry: { readonly port: number | undefined }, port: number): boolean {
  return entry.port === undefined || entry.port === port;
}
