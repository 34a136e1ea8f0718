import { readBaseUrl } from "#src/outbound/base-url.ts";
import { pathProblem, type QueryPair } from "#src/outbound/path.ts";
import { SourceFailure } from "./failure.ts";
import type { PollConfig } from "./source.ts";

/** How far turns overlap that go on behind a moment. */
const overlapMs = 120_000;
const placeholder = "{cursor}";
/** Longer than the origin of any host. */
const longestShown = 270;

/** Whether requests name the cursor, so that a page has only what is behind it. */
export function usesCursor({ query }: PollConfig): boolean {
  return query.some(({ value }) => value.includes(placeholder));
}

/** The first page of a turn, as path and query behind the base URL. Without a cursor, parameters that name it are left out. */
export function firstPage(config: PollConfig, cursor: string | undefined): string {
  const value = cursor !== undefined && config.isTimeCursor ? earlier(cursor) : cursor;
  const pairs = config.query.flatMap((one) => {
    if (!one.value.includes(placeholder)) return [[one.name, one.value] as const];
    return value === undefined ? [] : [[one.name, one.value.replaceAll(placeholder, () => value)] as const];
  });
  const query = pairs.map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
  return config.path + (query === "" ? "" : `?${query}`);
}

/** The moment before, in the form of the given one; a text that is no moment as it is. */
function earlier(cursor: string): string {
  if (/^\d{1,16}$/.test(cursor)) {
    const seconds = Number(cursor) < 1e11;
    return String(Math.max(0, Number(cursor) - (seconds ? overlapMs / 1000 : overlapMs)));
  }
  const at = Date.parse(cursor);
  return Number.isNaN(at) || !/^\d{4}-\d\d-\d\d/.test(cursor)
    ? cursor
    : new Date(at - overlapMs).toISOString();
}

/**
 * The page that a reply names as the next one, as path and query behind the base URL; undefined behind the last one.
 * Refuses one elsewhere: the credential is for the connection's base URL alone.
 */
export function nextPage(
  config: PollConfig,
  reply: { readonly link: string | undefined; readonly next: string | undefined },
  present: string,
  baseUrl: string,
): string | undefined {
  const { next: rule } = config;
  const given = rule?.by === "link" ? relNext(reply.link) : reply.next;
  if (rule === undefined || given === undefined) return undefined;
  if (rule.by === "pointer" && rule.parameter !== undefined)
    return withParameter(present, rule.parameter, given);
  const { origin, path } = readBaseUrl(baseUrl);
  const url = URL.parse(given, origin + path + present);
  if (url === null) throw new SourceFailure("the answer's next page is not a URL");
  const behind = url.pathname.slice(path.length);
  const isBelow = url.pathname.startsWith(path) && behind.startsWith("/");
  if (url.origin !== origin || !isBelow || pathProblem(behind) !== undefined) {
    throw new SourceFailure(
      `the answer's next page is at ${url.origin.slice(0, longestShown)}, or beside the connection's base URL; only pages below that are read`,
    );
  }
  return behind + url.search;
}

function withParameter(present: string, name: string, value: string): string {
  const [path, query] = split(present);
  const kept = query
    .split("&")
    .filter((pair) => pair !== "" && pair.split("=")[0] !== encodeURIComponent(name));
  return `${path}?${[...kept, `${encodeURIComponent(name)}=${encodeURIComponent(value)}`].join("&")}`;
}

/** The address of `rel=next` in a Link header (RFC 8288). */
function relNext(link: string | undefined): string | undefined {
  for (const [, target, parameters = ""] of (link ?? "").matchAll(
    /<([^<>]*)>((?:\s*;\s*[\w!#$&+\-.^`|~*]+(?:\s*=\s*(?:"[^"]*"|[^\s",;]+))?)*)/g,
  )) {
    const [, quoted, plain] = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))/i.exec(parameters) ?? [];
    if ((quoted ?? plain ?? "").toLowerCase().split(/\s+/).includes("next")) return target;
  }
  return undefined;
}

/** Path and query as they are sent. */
export function requestOf(page: string): { path: string; query: QueryPair[] } {
  const [path, query] = split(page);
  const pairs = query.split("&").filter((pair) => pair !== "");
  return {
    path,
    query: pairs.map((pair): QueryPair => {
      const at = pair.indexOf("=");
      const [name, value] = at === -1 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
      return [escaped(name), escaped(value), "encoded"];
    }),
  };
}

/** What URL parsers leave as it is, and a request line must not have. */
function escaped(text: string): string {
  return text.replace(/[^A-Za-z0-9\-._~!$'()*+,;:@/?%=]/gu, encodeURIComponent);
}

function split(page: string): [path: string, query: string] {
  const at = page.indexOf("?");
  return at === -1 ? [page, ""] : [page.slice(0, at), page.slice(at + 1)];
}
