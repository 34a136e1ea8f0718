/** Where a Postgres listens, as postgres.js takes it. */
export interface Address {
  /** The URL without what postgres.js does not understand. */
  readonly url: string;
  /** Options that the URL cannot tell postgres.js. */
  readonly options: { path?: string; user?: string };
}

/**
 * Reads a database URL. Beside what postgres.js reads itself, it may name a Unix socket's folder the way
 * libpq has it: `postgresql:///database?host=/run/postgresql&user=me`.
 */
export function parseAddress(text: string): Address {
  const url = parse(text);
  const folder = url.searchParams.get("host");
  const user = url.searchParams.get("user");
  // Left in the query, postgres.js would send them to the server as settings, which it does not know.
  url.searchParams.delete("host");
  url.searchParams.delete("user");
  const port = url.port === "" ? "5432" : url.port;
  return {
    url: url.href,
    options: {
      ...(folder === null ? {} : { path: `${folder}/.s.PGSQL.${port}` }),
      ...(user === null ? {} : { user }),
    },
  };
}

/** The same server and user, another database. */
export function withDatabase(text: string, database: string): string {
  const url = parse(text);
  url.pathname = `/${database}`;
  return url.href;
}

function parse(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["postgres:", "postgresql:"].includes(url.protocol)) {
    // Without the text: it may hold a password.
    throw new Error("the database URL is not of the form postgres://user:password@host:5432/database");
  }
  return url;
}
