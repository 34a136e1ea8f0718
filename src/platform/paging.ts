import { InvalidRequest } from "./errors.ts";

/** One page of a list that is ordered by a text key: the rows after `after`, one more than the caller asked for. */
export interface PageRequest {
  /** The last key of the previous page; empty for the first page. */
  readonly after: string;
  readonly limit: number;
}

/** One page, and how to ask for the next. */
export interface Page<T> {
  readonly items: T[];
  readonly nextPageToken: string | undefined;
}

/** What a list was asked for. */
export interface ListRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** The token was not issued by this list. */
export class InvalidPageToken extends InvalidRequest {
  constructor() {
    super("pageToken: not one that this list issued; leave it out to start from the beginning");
  }
}

/**
 * Reads one page with `load`, which returns at most `limit` rows after `after` in the order of `keyOf`.
 * One row more than the page holds is read, which shows without counting whether there is a next page.
 */
export async function readPage<T>(
  request: ListRequest,
  defaultSize: number,
  load: (page: PageRequest) => Promise<T[]>,
  keyOf: (item: T) => string,
): Promise<Page<T>> {
  const size = request.pageSize === 0 ? defaultSize : request.pageSize;
  const rows = await load({ after: keyFrom(request.pageToken), limit: size + 1 });
  const items = rows.slice(0, size);
  const last = items.at(-1);
  const more = rows.length > size && last !== undefined;
  return { items, nextPageToken: more ? tokenFrom(keyOf(last)) : undefined };
}

/** How a list's answer says that there is more; empty if there is not. */
export function nextPage({ nextPageToken }: Page<unknown>): { nextPageToken?: string } {
  return nextPageToken === undefined ? {} : { nextPageToken };
}

/** Where a page ended that was cut by other rules than `readPage` knows, as a token. */
export function tokenOfPlace(place: readonly string[]): string {
  return tokenFrom(JSON.stringify(place));
}

/** The place that the token names, of as many parts as a list may give it; undefined without a token. */
export function placeOfToken(token: string, lengths: readonly number[]): readonly string[] | undefined {
  if (token === "") return undefined;
  try {
    const place = JSON.parse(keyFrom(token)) as unknown;
    if (isTexts(place) && lengths.includes(place.length)) return place;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new InvalidPageToken();
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string" && one.isWellFormed());
}

// Marked, so that a token is not mistaken for a key of the table: clients must not make them up.
const mark = "p1:";

function tokenFrom(key: string): string {
  return Buffer.from(mark + key, "utf8").toString("base64url");
}

function keyFrom(token: string): string {
  if (token === "") return "";
  const text = Buffer.from(token, "base64url").toString("utf8");
  if (!text.startsWith(mark) || text.includes("\0") || tokenFrom(text.slice(mark.length)) !== token) {
    throw new InvalidPageToken();
  }
  return text.slice(mark.length);
}
