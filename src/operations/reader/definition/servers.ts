import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { requireUrl } from "#src/integrations/definition-urls.ts";
import type { Placeholder, Template } from "#src/integrations/integration.ts";
import { isObject, membersOf } from "#src/json/object.ts";
import { baseUrlText, readBaseUrl } from "#src/outbound/base-url.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { present } from "#src/platform/present.ts";
import type { ImportProblem } from "#src/operations/import/imported.ts";
import { isFit, mostValues, Variables } from "./server-variables.ts";
import { lineOf, objectsIn, pointerTo, textOf } from "./text.ts";

/** Where the service is, as its document says. */
export interface Servers {
  /** Undefined where each connection says its own. */
  readonly baseUrl: Template | undefined;
  readonly placeholders: Readonly<Record<string, Placeholder>>;
  /** By what the document calls its variables, what they are called in templates. */
  readonly names: ReadonlyMap<string, string>;
  /** Whether some server of the list is one that the base URL stands for. */
  readonly isOwn: (servers: JsonValue | undefined) => boolean;
}

type Report = (problem: ImportProblem) => void;

interface Server {
  readonly pointer: string;
  /** Absolute; undefined for one that is relative to a document whose address is not known. */
  readonly url: string | undefined;
  readonly written: string;
  readonly variables: JsonObject;
  readonly description: string | undefined;
}

/** A base URL, and what stands for a part of it. */
interface Place {
  readonly baseUrl: Template;
  readonly placeholders: Readonly<Record<string, Placeholder>>;
  readonly names: ReadonlyMap<string, string>;
}

/** Reads a document's `servers`. `url` is where the document is from. */
export function readServers(
  servers: JsonValue | undefined,
  url: string | undefined,
  report: Report,
): Servers {
  const all = serversIn(servers, url);
  if (Array.isArray(servers) && servers.length > mostServers) {
    report({
      pointer: "/servers",
      reason: `has more servers than are read, which are the first ${mostServers}`,
    });
  }
  const known = withoutTwins(all);
  for (const [at, server] of known.entries()) {
    const place = placeOf(server, report);
    if (place === undefined) continue;
    const alike = alternativesOf(place, server, known);
    const used = alike.length > 1 ? alike : [server];
    const keys = new Set(used.map(keyOf));
    for (const other of known.slice(at + 1).filter((one) => !keys.has(keyOf(one)))) {
      report({
        pointer: other.pointer,
        reason: `is not used, as the base URL is ${place.baseUrl}; import the document under another slug for it`,
      });
    }
    return { ...(alike.length > 1 ? chosenFrom(alike, place) : place), isOwn: amongst(used, url) };
  }
  return { baseUrl: undefined, placeholders: {}, names: new Map(), isOwn: amongst(all, url) };
}

/** Of a server that is named with and without encryption, the one with it. */
function withoutTwins(servers: readonly Server[]): Server[] {
  const keys = new Set(servers.map(keyOf));
  const encrypted = ({ url, ...server }: Server) =>
    keyOf({ ...server, url: url?.replace(/^http:/i, "https:") });
  return servers.filter((one) => !/^http:/i.test(one.url ?? "") || !keys.has(encrypted(one)));
}

function amongst(used: readonly Server[], url: string | undefined): Servers["isOwn"] {
  const keys = new Set(used.map(keyOf));
  return (servers) => {
    const own = Array.isArray(servers) && servers.length > 0 ? serversIn(servers, url) : [];
    return own.length === 0 || withoutTwins(own).some((server) => keys.has(keyOf(server)));
  };
}

/** Without any, the service is where the document is. */
function serversIn(servers: JsonValue | undefined, url: string | undefined): Server[] {
  const named = objectsIn(servers).filter(({ item }) => typeof item["url"] === "string");
  const all = named.length > 0 ? named : [{ at: 0, item: { url: "/" } as JsonObject }];
  return all.slice(0, mostServers).map(({ at, item }) => ({
    pointer: pointerTo("servers", at, "url"),
    url: resolveUrl(textOf(item["url"]) ?? "/", url),
    written: textOf(item["url"]) ?? "/",
    variables: isObject(item["variables"]) ? item["variables"] : {},
    description: lineOf(item["description"], 100),
  }));
}

/** Two servers of the same URL whose variables differ are two places. */
function keyOf({ url, written, variables }: Server): string {
  const values = Object.entries(variables).map(([name, variable]) => {
    const { default: usual, enum: list } = membersOf(variable);
    return [name, usual ?? null, list ?? null];
  });
  return JSON.stringify([(url ?? written).replace(/\/$/, "").toLowerCase(), values]);
}

/**
 * The URL against a base, of which either may have names in braces; undefined for a relative one without a base. Not by
 * a parser alone, which would escape the braces.
 */
export function resolveUrl(reference: string, base: string | undefined): string | undefined {
  if (/^[^/?#]+:\/\//.test(reference)) return reference;
  const [, scheme, authority, path] = /^([a-z]+:)\/\/([^/?#]*)([^?#]*)/i.exec(base ?? "") ?? [];
  if (scheme === undefined) return undefined;
  if (reference.startsWith("//")) return scheme + reference;
  const resolved = URL.parse(reference, `http://resolve.invalid${path === "" ? "/" : path}`);
  if (resolved?.host !== "resolve.invalid") return undefined;
  const rest = (resolved.pathname + resolved.search).replaceAll("%7B", "{").replaceAll("%7D", "}");
  return `${scheme}//${authority}${rest}`;
}

function placeOf(server: Server, report: Report): Place | undefined {
  const { pointer, url, written } = server;
  if (url === undefined) {
    // That the service is where its document is says nothing where that is not known.
    if (written !== "/" && written !== "") {
      report({
        pointer,
        reason:
          "is relative to the document's own address, which is not known; each connection gives its base URL",
      });
    }
    return undefined;
  }
  if (url.length > longestUrl) {
    report({ pointer, reason: `is not used: has more than ${longestUrl} characters` });
    return undefined;
  }
  const parts = /^([^/?#]+):\/\/([^/?#]*)(.*)$/s.exec(url);
  const [, scheme = "", authority = "", path = ""] = parts ?? [];
  const [, host = "", port] = /^(.*?)(?::([^:\]]*))?$/s.exec(authority) ?? [];
  const variables = new Variables(server.variables, (raw, reason) =>
    report({ pointer: pointer.replace(/url$/, `variables${pointerTo(raw)}`), reason }),
  );
  const template = [
    variables.schemeOf(scheme),
    "://",
    variables.replaceIn(host, "host"),
    port === undefined ? "" : `:${variables.fixedIn(port)}`,
    variables.replaceIn(path, "path").replace(/\/$/, ""),
  ].join("");
  const { placeholders, names } = variables;
  const baseUrl = soundUrl(template, placeholders, (reason) => report({ pointer, reason }));
  return baseUrl === undefined ? undefined : { baseUrl, placeholders, names };
}

function soundUrl(
  template: Template,
  placeholders: Readonly<Record<string, Placeholder>>,
  refuse: (reason: string) => void,
): Template | undefined {
  const free = Object.entries(placeholders).filter(
    ([, one]) => one.in === "host" && one.pattern !== undefined,
  );
  try {
    const isLiteral = Object.keys(placeholders).length === 0;
    const url = isLiteral ? baseUrlText(readBaseUrl(template)) : template;
    requireUrl("its URL", url, placeholders, readBaseUrl);
    if (url.length > longestUrl) throw new InvalidRequest(`has more than ${longestUrl} characters`);
    return url;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // A free host without a domain behind it is a service that everybody runs by themselves.
    const isAnywhere = free.length > 0 && error.message.includes("is free and must stand before a domain");
    refuse(
      isAnywhere
        ? "may be any host; each connection gives its base URL"
        : `is not used: ${error.message.replace(/^(?:its URL|baseUrl): /, "")}`,
    );
    return undefined;
  }
}

const longestUrl = 2_048;
/** Each is judged as a definition is, which takes time. */
const mostServers = 100;

/** The servers that differ from this one in their host alone. */
function alternativesOf({ baseUrl, placeholders }: Place, server: Server, all: readonly Server[]): Server[] {
  if (Object.keys(placeholders).length > 0) return [];
  const hosts = new Set<string>();
  const alike = all.filter((one) => {
    const host = one.url === undefined ? undefined : hostOf(one.url);
    if (host === undefined || !isFit("host", host.name) || hosts.size >= mostValues) return false;
    if (host.before + hostOf(baseUrl)?.name + host.after !== baseUrl) return false;
    hosts.add(host.name);
    return true;
  });
  return alike.includes(server) ? alike : [];
}

function chosenFrom(servers: readonly Server[], { baseUrl, names }: Place): Place {
  const hosts = servers.flatMap(({ url = "", description }) => {
    const host = hostOf(url)?.name;
    return host === undefined ? [] : [{ host, description }];
  });
  const list = [...new Set(hosts.map(({ host }) => host))];
  const own = hostOf(baseUrl);
  if (own === undefined || list.length < 2) return { baseUrl, placeholders: {}, names };
  const described = hosts.flatMap(({ host, description }) =>
    description ? [`${host}: ${description}`] : [],
  );
  const note = lineOf(described.join("; "), 500);
  const server: Placeholder = {
    in: "host",
    enum: list,
    ...present({ default: own.name, note }),
    example: own.name,
  };
  return { baseUrl: `${own.before}{server}${own.after}`, placeholders: { server }, names };
}

function hostOf(url: string): { before: string; name: string; after: string } | undefined {
  const [, before, name, after = ""] =
    /^(https?:\/\/)([^/:?#{}]+)((?::\d+)?(?:\/[^?#{}]*)?)$/i.exec(url) ?? [];
  if (before === undefined || name === undefined) return undefined;
  return { before: before.toLowerCase(), name: name.toLowerCase(), after: after.replace(/\/$/, "") };
}
