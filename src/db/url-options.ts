/** A database URL that cannot be used. The message says what to write instead, and holds no part of a password. */
export class InvalidDatabaseUrl extends Error {
  override readonly name = "InvalidDatabaseUrl";

  static malformed(): InvalidDatabaseUrl {
    return new InvalidDatabaseUrl(
      "give a URL such as postgres://user:password@host:5432/patchbay, with special characters percent-encoded",
    );
  }
}

/** What the connection must have before a password or a statement is sent over TCP. */
export interface Tls {
  /** `prefer` uses TLS if offered. The `verify` modes check the certificate, `full` also that it is the host's. */
  readonly mode: "disable" | "prefer" | "require" | "verify-ca" | "verify-full";
  /** Begins with TLS instead of asking for it, as Postgres 17 and newer accept. */
  readonly direct: boolean;
  /** A file; undefined stands for the authorities that Node trusts. */
  readonly rootCert: string | undefined;
  /** Files with a certificate of our own and its key. */
  readonly identity: { readonly cert: string; readonly key: string } | undefined;
  readonly keyPassword: string | undefined;
}

/** What the options of a database URL say. */
export interface UrlOptions {
  readonly host: string | undefined;
  readonly hostaddr: string | undefined;
  readonly port: string | undefined;
  readonly dbname: string | undefined;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly options: string | undefined;
  readonly tls: Tls;
}

/**
 * Reads the options that libpq knows, and those that providers write for other clients. Each is honoured, known to
 * change nothing, or refused: an unknown one must not reach the server, which would take it for one of
 * its settings, and one that asks for more safety than there is must not be passed over.
 */
export function readOptions(given: ReadonlyMap<string, string>): UrlOptions {
  // libpq takes an empty value for none.
  const options = new Map([...given].filter(([, value]) => value !== ""));
  for (const [name, value] of options) {
    if (!honoured.has(name) && !ignored.has(name)) requireHarmless(name, value, options);
  }
  const [host, hostaddr, port] = [options.get("host"), options.get("hostaddr"), options.get("port")];
  return {
    ...{ host, hostaddr, port },
    dbname: options.get("dbname"),
    user: options.get("user"),
    password: options.get("password"),
    options: options.get("options"),
    tls: readTls(options),
  };
}

const honoured = new Set([
  ...["host", "hostaddr", "port", "dbname", "user", "password", "options"],
  ...["sslmode", "ssl", "sslaccept", "channel_binding", "sslnegotiation"],
  ...["sslrootcert", "sslcert", "sslkey", "sslpassword"],
]);

// Every operation has a deadline of its own, shorter than any of these would be; sessions have names of our own, by
// which operators know them; the pool has a setting; and no GSSAPI is spoken.
const ignored = new Set([
  ...["connect_timeout", "tcp_user_timeout", "pool_timeout", "socket_timeout"],
  ...["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"],
  ...["application_name", "fallback_application_name"],
  ...[
    "connection_limit",
    "statement_cache_size",
    "load_balance_hosts",
    "max_protocol_version",
    "uselibpqcompat",
  ],
  ...["krbsrvname", "gsslib", "gssdelegation"],
]);

interface Harmless {
  readonly values: readonly string[];
  readonly otherwise: string;
}

const unneeded = "leave it out";
/** Options that are accepted if they ask for what is the case anyway. */
const harmless = new Map<string, Harmless>(
  Object.entries({
    gssencmode: { values: ["disable", "prefer"], otherwise: "GSSAPI is not spoken; use sslmode instead" },
    target_session_attrs: {
      values: ["any", "read-write", "primary", "prefer-standby"],
      otherwise: "the service writes, so give it the primary",
    },
    client_encoding: { values: ["UTF8", "utf8", "UTF-8", "utf-8", "auto"], otherwise: unneeded },
    replication: { values: ["false", "off", "no", "0"], otherwise: unneeded },
    sslcompression: { values: ["0"], otherwise: unneeded },
    sslsni: { values: ["1"], otherwise: "the host's name is always sent; leave it out" },
    sslcertmode: {
      values: ["allow"],
      otherwise: "it is for the server to ask for a certificate; leave it out",
    },
    ssl_min_protocol_version: {
      values: ["TLSv1", "TLSv1.1", "TLSv1.2"],
      otherwise: "TLS 1.2 and 1.3 are spoken; let the server insist on one",
    },
    ssl_max_protocol_version: { values: ["TLSv1.3"], otherwise: unneeded },
    min_protocol_version: {
      values: ["3.0"],
      otherwise: "version 3.0 of the protocol is spoken; leave it out",
    },
    schema: {
      values: ["public"],
      otherwise: "the tables are kept in the schema public; give the service a database of its own",
    },
    pgbouncer: {
      values: ["false"],
      otherwise:
        "notifications and locks need the same session for long; give the URL that leads to Postgres itself",
    },
  }),
);

/** Options that cannot be honoured, and what to do instead. */
const refused = new Map(
  Object.entries({
    service: "service files are not read; write its values into the URL",
    servicefile: "service files are not read; write the service's values into the URL",
    passfile: "password files are not read; write the password into the URL",
    requiressl: "write sslmode=require",
    require_auth:
      "how to log in is the server's choice; sslmode=verify-full makes sure that it is the right server",
    requirepeer: "the owner of the socket is not checked; keep its folder private",
    sslcrl: "revocation lists are not read; leave it out",
    sslcrldir: "revocation lists are not read; leave it out",
    sslkeylogfile: unneeded,
    sslidentity: "write sslcert and sslkey, of PEM files",
    scram_client_key: "write the password",
    scram_server_key: "write the password",
    oauth_issuer: "OAuth is not spoken; write a password, or sslcert and sslkey",
    oauth_client_id: "OAuth is not spoken; write a password, or sslcert and sslkey",
    oauth_client_secret: "OAuth is not spoken; write a password, or sslcert and sslkey",
    oauth_scope: "OAuth is not spoken; write a password, or sslcert and sslkey",
  }),
);

function requireHarmless(name: string, value: string, all: ReadonlyMap<string, string>): void {
  const { values, otherwise } = harmless.get(name) ?? {};
  if (values?.includes(value) === true) return;
  if (otherwise !== undefined) {
    throw new InvalidDatabaseUrl(`its ${name} can only be ${values?.join(" or ")}: ${otherwise}`);
  }
  const instead = refused.get(name);
  if (instead !== undefined) throw new InvalidDatabaseUrl(`its ${name} cannot be honoured: ${instead}`);
  // A password with a ? in it looks like this; the message must hold no part of it.
  if ([...all.values()].some((one) => one.includes("@"))) throw InvalidDatabaseUrl.malformed();
  throw new InvalidDatabaseUrl(
    `its option ${name} is not known here: leave it out; a setting of the server is written ` +
      `options=-c%20${name}%3Dvalue`,
  );
}

// `allow` and `prefer` use what the server offers; they differ only in what is tried first.
const modes = { disable: "disable", allow: "prefer", prefer: "prefer", require: "require" } as const;
const verifying = { "verify-ca": "verify-ca", "verify-full": "verify-full" } as const;
/** Words of libpq, and those of node-postgres, JDBC and Prisma for the same. */
const wordsForModes: Readonly<Record<string, Readonly<Record<string, Tls["mode"]>>>> = {
  sslmode: { ...modes, "no-verify": "require", ...verifying },
  ssl: {
    true: "require",
    1: "require",
    false: "disable",
    0: "disable",
    ...modes,
    "no-verify": "require",
    ...verifying,
  },
  sslaccept: { strict: "verify-full", accept_invalid_certs: "require" },
};
const mildestFirst = ["disable", "prefer", "require", "verify-ca", "verify-full"] as const;

function readTls(options: ReadonlyMap<string, string>): Tls {
  const [cert, key] = [options.get("sslcert"), options.get("sslkey")];
  if ((cert === undefined) !== (key === undefined)) {
    throw new InvalidDatabaseUrl("its sslcert and sslkey belong together: give both or none");
  }
  const rootCert = options.get("sslrootcert");
  const mode = strictest(options, askedMode(options));
  const direct = oneOf(options, "sslnegotiation", ["postgres", "direct"]) === "direct";
  if (direct && (mode === "disable" || mode === "prefer")) {
    throw new InvalidDatabaseUrl("its sslnegotiation=direct needs TLS: add sslmode=require, or verify-full");
  }
  return {
    mode,
    direct,
    rootCert: rootCert === "system" ? undefined : rootCert,
    identity: cert === undefined || key === undefined ? undefined : { cert, key },
    keyPassword: options.get("sslpassword"),
  };
}

/** If the URL says nothing about TLS, it is used if the server has it, as libpq does. */
function askedMode(options: ReadonlyMap<string, string>): Tls["mode"] {
  const asked = Object.entries(wordsForModes).map(([name, words]) => {
    const word = oneOf(options, name, Object.keys(words));
    return word === undefined ? undefined : words[word];
  });
  return mildestFirst.findLast((mode) => asked.includes(mode)) ?? "prefer";
}

/** The mode, made stricter if another option asks to check that the server is the right one. */
function strictest(options: ReadonlyMap<string, string>, mode: Tls["mode"]): Tls["mode"] {
  const binding = oneOf(options, "channel_binding", ["disable", "prefer", "require"]);
  const rootCert = options.get("sslrootcert");
  if (binding === "require" && mode === "disable") {
    throw new InvalidDatabaseUrl("its channel_binding=require needs TLS: leave out sslmode=disable");
  }
  if (mode === "disable") return mode;
  // Channel binding makes sure that nothing sits between us and the server. So does a check of the certificate, which
  // the driver can make.
  if (binding === "require" || rootCert === "system") return "verify-full";
  return rootCert !== undefined && mode !== "verify-full" ? "verify-ca" : mode;
}

function oneOf(
  options: ReadonlyMap<string, string>,
  name: string,
  words: readonly string[],
): string | undefined {
  const word = options.get(name);
  if (word === undefined || words.includes(word)) return word;
  throw new InvalidDatabaseUrl(`its ${name} is none of ${words.join(", ")}`);
}
