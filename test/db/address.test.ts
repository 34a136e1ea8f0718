import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { parseAddress, withDatabase } from "#src/db/address.ts";
import { openConnection } from "#src/db/connection.ts";

describe("a database URL is read as libpq reads it", () => {
  const local = { host: "localhost", port: 5432, target: { host: "localhost", port: 5432 } };
  const socket = (folder: string, port = 5432) => ({
    ...{ host: folder, port, target: { path: `${folder}/.s.PGSQL.${port}` } },
    tls: undefined,
  });
  const nobody = { user: undefined, password: undefined, database: undefined };

  test.each<[string, object]>([
    ["postgres://", { ...local, ...nobody }],
    ["postgresql:///mydb", { ...local, ...nobody, database: "mydb" }],
    ["postgres://me@localhost", { ...local, ...nobody, user: "me" }],
    ["postgres://me:pw@localhost/db", { ...local, user: "me", password: "pw", database: "db" }],
    ["postgres://me:p:w@localhost/db", { password: "p:w" }],
    ["postgres://me:p%40s%2Fs%3F@localhost/db", { password: "p@s/s?" }],
    ["postgres://me:p@s#s@localhost/db", { user: "me", password: "p@s#s", host: "localhost" }],
    ["postgres://host.example:6432/db", { target: { host: "host.example", port: 6432 } }],
    ["postgres://[::1]:6432/db", { host: "::1", target: { host: "::1", port: 6432 } }],
    ["postgres://me@/db?host=/run/pg&port=6000", { ...socket("/run/pg", 6000), user: "me" }],
    ["postgresql:///db?host=/run/pg&user=me", { ...socket("/run/pg"), user: "me", database: "db" }],
    ["postgres://me:pw@%2Frun%2Fpg/db", { ...socket("/run/pg"), password: "pw" }],
    ["postgres://me:pw@%2Frun%2Fpg:6000/db", socket("/run/pg", 6000)],
    ["postgres://me:pw@/db?host=/cloudsql/project:region:name", socket("/cloudsql/project:region:name")],
    [
      "postgres://other/x?host=h&user=u&password=p@w&dbname=d",
      { host: "h", user: "u", password: "p@w", database: "d" },
    ],
    ["postgres://h?password=a+b", { password: "a+b" }],
    ["postgres://h?hostaddr=10.0.0.1", { host: "h", target: { host: "10.0.0.1", port: 5432 } }],
    ["postgres://?hostaddr=10.0.0.1", { host: "10.0.0.1" }],
    ["postgres://h/db?options=-c%20geqo%3Doff", { sessionOptions: "-c geqo=off" }],
    ["postgres://h/db?sslmode=&options=", { sessionOptions: undefined }],
  ])("%s", (url, expected) => {
    expect(parseAddress(url)).toMatchObject(expected);
  });

  test("whatever stands in its parts, percent-encoded", () => {
    const part = fc.string({ minLength: 1, unit: "grapheme" }).filter((text) => !text.includes("\0"));
    const host = fc.oneof(
      fc.domain(),
      fc.ipV6(),
      part.map((name) => `/run/${name.replaceAll(",", "")}`),
    );
    fc.assert(
      fc.property(part, part, part, host, (user, password, database, name) => {
        const expected = { user, password, database, host: name };
        const encode = encodeURIComponent;
        const authority = name.includes(":") && !name.startsWith("/") ? `[${name}]` : encode(name);
        const url = `postgres://${encode(user)}:${encode(password)}@${authority}/${encode(database)}`;
        expect(parseAddress(url)).toMatchObject(expected);
        const query = Object.entries({ user, password, dbname: database, host: name });
        const named = `postgres://?${query.map(([key, value]) => `${key}=${encode(value)}`).join("&")}`;
        expect(parseAddress(named)).toMatchObject(expected);
        for (const one of [url, named]) {
          const other = parseAddress(withDatabase(one, "other"));
          expect(other).toStrictEqual({ ...parseAddress(one), database: "other" });
        }
      }),
    );
  });
});

/** The address of a URL with these options, or why it is refused. */
function withOptions(options: string) {
  try {
    return parseAddress(`postgres://me:pw@db.example/patchbay?${options}`);
  } catch (error) {
    return (error as Error).message;
  }
}

describe("what the server must show", () => {
  const cases: Record<string, readonly string[]> = {
    disable: ["sslmode=disable", "ssl=false", "ssl=0", "sslmode=disable&sslrootcert=/ca.pem"],
    prefer: ["", "sslmode=allow", "sslmode=prefer", "channel_binding=prefer", "channel_binding=disable"],
    require: [
      "sslmode=require",
      "ssl=true",
      "ssl=1",
      "ssl=require",
      "sslmode=no-verify",
      "sslaccept=accept_invalid_certs",
    ],
    "verify-ca": ["sslmode=verify-ca", "sslrootcert=/ca.pem", "sslmode=require&sslrootcert=/ca.pem"],
    "verify-full": [
      "sslmode=verify-full",
      "sslmode=verify-full&sslrootcert=/ca.pem",
      "sslrootcert=system",
      "sslmode=require&sslrootcert=system",
      "sslaccept=strict",
      "sslmode=require&sslaccept=strict",
      // As Neon writes it: nobody may sit between, and that is what the certificate makes sure of here.
      "sslmode=require&channel_binding=require",
      "channel_binding=require",
    ],
  };
  const rows = Object.entries(cases).flatMap(([mode, options]) => options.map((one) => [one, mode] as const));

  test.each(rows)("with %j is %s", (options, mode) => {
    expect(withOptions(options)).toMatchObject({ tls: { mode } });
  });

  test("is nothing on a Unix socket, which ignores all of this as libpq does", () => {
    expect(parseAddress("postgres:///db?host=/run/pg&sslmode=verify-full").tls).toBeUndefined();
  });
});

describe("an option that asks for what is not done is refused by name, with what to do", () => {
  test.each([
    [
      "sslmode=strict",
      "its sslmode is none of disable, allow, prefer, require, no-verify, verify-ca, verify-full",
    ],
    ["channel_binding=always", "its channel_binding is none of disable, prefer, require"],
    [
      "sslmode=disable&channel_binding=require",
      "its channel_binding=require needs TLS: leave out sslmode=disable",
    ],
    ["sslnegotiation=direct", "its sslnegotiation=direct needs TLS: add sslmode=require, or verify-full"],
    ["sslcert=/c.pem", "its sslcert and sslkey belong together: give both or none"],
    [
      "gssencmode=require",
      "its gssencmode can only be disable or prefer: GSSAPI is not spoken; use sslmode instead",
    ],
    ["target_session_attrs=standby", "so give it the primary"],
    ["schema=app", "its schema can only be public: "],
    ["pgbouncer=true", "give the URL that leads to Postgres itself"],
    [
      "service=prod",
      "its service cannot be honoured: service files are not read; write its values into the URL",
    ],
    ["require_auth=none", "its require_auth cannot be honoured"],
    ["sslcrl=/crl.pem", "its sslcrl cannot be honoured"],
    ["oauth_client_secret=s3cr3t", "its oauth_client_secret cannot be honoured: OAuth is not spoken"],
    ["host=one,two", "it names several hosts"],
    [
      "statement_timeout=5000",
      "its option statement_timeout is not known here: leave it out; a setting of the server is",
    ],
    ["prepareThreshold=0", "its option prepareThreshold is not known here"],
    ["constructor=1", "its option constructor is not known here"],
    ["sslmode", "give a URL such as postgres://user:password@host:5432/patchbay"],
    ["password=%zz", "give a URL such as"],
  ])("%s", (options, message) => {
    expect(withOptions(options)).toContain(message);
  });

  test.each([
    "postgres://a,b/db",
    "postgres://a:1,b:2/db",
    "postgresql://u:p@a:1,b:2,c:3/db?target_session_attrs=any",
  ])("%s names several hosts", (url) => {
    expect(() => parseAddress(url)).toThrow("give the one name or address that leads to the primary");
  });

  test("no message repeats a part of a password that was not percent-encoded", () => {
    const piece = fc.constantFrom(
      "/",
      "?",
      "#",
      "&",
      "=",
      "@",
      ":",
      "%",
      "[",
      ",",
      "1",
      "sslmode=",
      "schema=",
      "canary",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          parseAddress(`postgres://me:canary${pieces.join("")}@host/db`);
        } catch (error) {
          expect((error as Error).message).not.toContain("canary");
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("on a real server", () => {
  const { url } = inject("postgres");
  const also = (options: string) => `${url}${url.includes("?") ? "&" : "?"}${options}`;

  /** The settings that the session's client chose. */
  async function chosen(options: string): Promise<unknown> {
    await using connection = openConnection(also(options), {});
    const rows = await connection.run(
      "select name, setting from pg_settings where source = 'client' order by 1",
    );
    return rows.map((row) => `${String(row["name"])}=${String(row["setting"])}`);
  }

  // All that libpq 18 knows beside those that say where the server is, and what providers and Prisma add.
  const taken = [
    ...["channel_binding=prefer", "connect_timeout=10", "client_encoding=auto", "application_name=me"],
    ...["fallback_application_name=me", "keepalives=1", "keepalives_idle=30", "keepalives_interval=5"],
    ...[
      "keepalives_count=3",
      "tcp_user_timeout=9000",
      "replication=false",
      "gssencmode=prefer",
      "sslmode=prefer",
    ],
    ...["sslnegotiation=postgres", "sslcompression=0", "sslpassword=x", "sslcertmode=allow", "sslsni=1"],
    ...["ssl_min_protocol_version=TLSv1.2", "ssl_max_protocol_version=TLSv1.3", "min_protocol_version=3.0"],
    ...["max_protocol_version=3.2", "krbsrvname=postgres", "gsslib=gssapi", "gssdelegation=0"],
    ...["target_session_attrs=read-write", "load_balance_hosts=random", "schema=public", "pgbouncer=false"],
    ...[
      "connection_limit=5",
      "pool_timeout=10",
      "socket_timeout=10",
      "statement_cache_size=0",
      "sslaccept=strict",
    ],
  ];
  const refused = [
    ...["passfile", "require_auth", "requiressl", "sslkeylogfile", "sslcrl", "sslcrldir", "requirepeer"],
    ...["scram_client_key", "scram_server_key", "service", "servicefile"],
    ...["oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope", "sslidentity"],
  ];

  test.each(taken)("%s is taken, and the server hears nothing of it", async (option) => {
    expect(await chosen(option)).toStrictEqual(await chosen(""));
  });

  test.each(refused)("%s is refused before there is a connection", (name) => {
    expect(() => parseAddress(also(`${name}=x`))).toThrow(`its ${name} cannot be honoured: `);
  });

  test("all of them are in docs/operating.md", async () => {
    const table = await readFile("docs/operating.md", "utf8");
    const honoured = ["host", "hostaddr", "port", "dbname", "user", "password", "options", "ssl"];
    const files = ["sslrootcert", "sslcert", "sslkey"];
    for (const option of [...taken, ...refused, ...honoured, ...files]) {
      expect(table).toContain(`\`${option.split("=")[0]}\``);
    }
  });

  test("options reach it, and cannot change what the service chooses itself", async () => {
    const options = encodeURIComponent("-c geqo=off -c search_path=nowhere -c lock_timeout=1");
    await using connection = openConnection(also(`options=${options}`), { lock_timeout: 3_000 });
    const [row] = await connection.run(
      "select current_setting('geqo') as geqo, current_setting('search_path') as path, current_setting('lock_timeout') as lock",
    );
    expect(row).toStrictEqual({ geqo: "off", path: "public", lock: "3s" });
  });
});
