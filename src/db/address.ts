import { InvalidDatabaseUrl, readOptions, type Tls } from "./url-options.ts";

/** Where a Postgres listens, and how to log in. Undefined fields are left to the driver's own defaults. */
export interface Address {
  /** The name that the server's certificate must be for; with a Unix socket, its folder. */
  readonly host: string;
  readonly port: number;
  /** What the socket connects to. */
  readonly target: { readonly path: string } | { readonly host: string; readonly port: number };
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  /** Undefined on a Unix socket, whose traffic never crosses a network. */
  readonly tls: Tls | undefined;
  /** Command-line options for the session, such as `-c geqo=off`. */
  readonly sessionOptions: string | undefined;
}

const parts =
  /^(?<scheme>postgres(?:ql)?:\/\/)(?:(?<userinfo>[^/?]*)@)?(?<hosts>[^/?@]*)(?:\/(?<database>[^?]*))?(?:\?(?<query>.*))?$/s;

/**
 * Reads a database URL the way libpq does, which is not quite how the URLs of the web are read: it may lack a host,
 * its host may be the percent-encoded folder of a Unix socket, and options override what stands before them.
 */
export function parseAddress(text: string): Address {
  const { userinfo, hosts = "", database, query } = partsOf(text);
  const [user, password] = splitAt(userinfo ?? "", ":");
  const given = readOptions(optionsIn(query));
  const inAuthority = hostAndPort(hosts);
  const host = oneHost(given.host ?? decode(inAuthority.host)) || given.hostaddr || "localhost";
  const port = portNumber(given.port ?? inAuthority.port);
  const isSocket = host.startsWith("/") && given.hostaddr === undefined;
  return {
    host,
    port,
    target: isSocket ? { path: `${host}/.s.PGSQL.${port}` } : { host: given.hostaddr ?? host, port },
    user: given.user ?? filled(decode(user)),
    password: given.password ?? filled(decode(password ?? "")),
    database: given.dbname ?? filled(decode(database ?? "")),
    tls: isSocket ? undefined : given.tls,
    sessionOptions: given.options,
  };
}

/** The same server and user, another database. */
export function withDatabase(text: string, database: string): string {
  const { scheme, userinfo, hosts, query } = partsOf(text);
  const others = (query ?? "").split("&").filter((option) => option !== "" && !option.startsWith("dbname="));
  const before = userinfo === undefined ? "" : `${userinfo}@`;
  const after = others.length === 0 ? "" : `?${others.join("&")}`;
  return `${scheme}${before}${hosts}/${encodeURIComponent(database)}${after}`;
}

function partsOf(text: string) {
  const { scheme, userinfo, hosts, database, query } = parts.exec(text)?.groups ?? {};
  if (scheme === undefined) throw InvalidDatabaseUrl.malformed();
  return { scheme, userinfo, hosts, database, query };
}

function optionsIn(query: string | undefined): Map<string, string> {
  const options = new Map<string, string>();
  for (const option of (query ?? "").split("&").filter((one) => one !== "")) {
    const [name, value] = splitAt(option, "=");
    // It may be the rest of a password, so the message does not repeat it.
    if (value === undefined || !/^[A-Za-z_]+$/.test(name)) throw InvalidDatabaseUrl.malformed();
    // If an option is given twice, the last one counts. Unlike in forms, + is a plus.
    options.set(name, decode(value));
  }
  return options;
}

function hostAndPort(hosts: string): { host: string; port: string } {
  const { v6, name, port } =
    /^(?:\[(?<v6>[^\]]*)\]|(?<name>[^:[\]\s]*))(?::(?<port>.*))?$/.exec(hosts)?.groups ?? {};
  const host = v6 ?? name;
  if (host === undefined) throw InvalidDatabaseUrl.malformed();
  return { host, port: port ?? "" };
}

function oneHost(host: string): string {
  if (!host.includes(",")) return host;
  throw new InvalidDatabaseUrl(
    "it names several hosts: give the one name or address that leads to the primary",
  );
}

function portNumber(text: string): number {
  if (text === "") return 5432;
  // Several ports go with several hosts; of anything else, it may be the rest of a password.
  if (text.includes(",")) return Number(oneHost(text));
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535) throw InvalidDatabaseUrl.malformed();
  return port;
}

function splitAt(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function filled(text: string): string | undefined {
  return text === "" ? undefined : text;
}

function decode(text: string): string {
  try {
    const decoded = decodeURIComponent(text);
    // It would end the value on its way to the server, and begin the next.
    if (!decoded.includes("\0")) return decoded;
  } catch {
    // Reported below.
  }
  throw InvalidDatabaseUrl.malformed();
}
