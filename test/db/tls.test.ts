import { createPrivateKey } from "node:crypto";
import { chmod, chown, copyFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openPostgres } from "#src/cli/postgres.ts";
import { readConfig } from "#src/config/config.ts";
import { assertServingRole } from "#src/db/assert-serving-role.ts";
import { openConnection } from "#src/db/connection.ts";
import { createDatabase } from "#src/db/database.ts";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "#src/db/embedded/supervisor.ts";
import { migrate } from "#src/db/migrate.ts";

// Real servers on TCP, with and without TLS. They need addresses of their own, which only Linux has without asking.

const log = pino({ level: "silent" });
const pem = (kind: "cert" | "key") => join(import.meta.dirname, `../net/test-only.${kind}.pem`);
const [secured, plain] = [randomLoopback(), randomLoopback()];

function randomLoopback(): string {
  const part = () => 1 + Math.floor(Math.random() * 254);
  return `127.${part()}.${part()}.${part()}`;
}

/** Who may log in how. The certificate's name is localhost, which makes it the user that it stands for. */
const hba = `
local   all all       trust
hostssl all localhost all cert
hostssl all demanding all scram-sha-256
host    all easy      all scram-sha-256
`;

const servers: EmbeddedPostgres[] = [];
let parent: string;

async function serve(address: string, settings: Record<string, string>): Promise<void> {
  const dataDir = join(parent, address);
  await (await startEmbeddedPostgres({ dataDir, log })).stop();
  // In the folder, where the user that Postgres runs as can read them.
  const cluster = join(dataDir, "postgres");
  const { uid, gid } = await stat(cluster);
  await copyFile(pem("cert"), join(cluster, "server.cert"));
  await copyFile(pem("key"), join(cluster, "server.key"));
  await writeFile(join(cluster, "pg_hba.conf"), hba);
  for (const file of ["server.cert", "server.key", "pg_hba.conf"]) {
    await chmod(join(cluster, file), 0o600);
    await chown(join(cluster, file), uid, gid);
  }
  const server = await startEmbeddedPostgres({
    dataDir,
    log,
    settings: { listen_addresses: address, ...settings },
  });
  servers.push(server);
  await using owner = openConnection(server.url, {});
  for (const name of ["localhost", "demanding", "easy"]) {
    await owner.run(`create role ${name} login createrole password 'pw'`);
  }
  await owner.run("create database patchbay owner easy");
}

/** Whether the session is inside TLS, as the server sees it. */
async function isSecure(url: string): Promise<unknown> {
  await using connection = openConnection(url, {});
  const [row] = await connection.run("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
  return row?.["ssl"];
}

/** What a start says of the URL. */
async function refusal(url: string): Promise<string> {
  const opened = openPostgres(readConfig({}, { DATABASE_URL: url }), log);
  return await opened.then(
    () => "none",
    (error: Error) => error.message,
  );
}

describe.runIf(process.platform === "linux")("a Postgres elsewhere", () => {
  beforeAll(async () => {
    parent = await mkdtemp(join(tmpdir(), "patchbay-tls-"));
    const ssl = { ssl_cert_file: "server.cert", ssl_key_file: "server.key", ssl_ca_file: "server.cert" };
    await Promise.all([serve(secured, { ssl: "on", ...ssl }), serve(plain, {})]);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await rm(parent, { recursive: true });
  });

  const on = (address: string, options: string, user = "easy:pw") =>
    `postgres://${user}@${address}/patchbay?${options}`;
  const rootCert = `sslrootcert=${pem("cert")}`;
  const byName = `host=localhost&hostaddr=${secured}`;

  test.each<[string, boolean]>([
    ["", true],
    ["sslmode=disable", false],
    ["sslmode=allow", true],
    ["sslmode=prefer", true],
    ["sslmode=require", true],
    ["sslmode=require&sslnegotiation=direct", true],
    ["sslmode=verify-ca&ROOT", true],
    ["sslmode=verify-full&ROOT&NAME", true],
    ["sslmode=verify-full&ROOT&NAME&sslnegotiation=direct", true],
    ["sslmode=require&channel_binding=require&ROOT&NAME", true],
  ])("with TLS is reached with %j", async (options, secure) => {
    const url = on(secured, options.replace("ROOT", rootCert).replace("NAME", byName));
    expect(await isSecure(url)).toBe(secure);
    expect(await refusal(url)).toBe("none");
  });

  test.each(["", "sslmode=disable", "sslmode=allow", "sslmode=prefer"])(
    "without TLS is reached with %j",
    async (options) => {
      expect(await isSecure(on(plain, options))).toBe(false);
      expect(await refusal(on(plain, options))).toBe("none");
    },
  );

  test.each(["sslmode=require", "sslmode=verify-ca", "sslmode=verify-full", "channel_binding=require"])(
    "without TLS is refused with %s, and the message says exactly that",
    async (options) => {
      expect(await refusal(on(plain, options))).toBe(
        `DATABASE_URL: cannot connect: the server at ${plain}:5432 does not speak TLS, which the URL asks for: switch ` +
          "it on there (ssl = on), or write sslmode=disable if the network between is private",
      );
    },
  );

  test("lets a user in by certificate, whose key may have a password", async () => {
    const asked = `sslmode=require&sslcert=${pem("cert")}`;
    expect(await refusal(on(secured, `${asked}&sslkey=${pem("key")}`, "localhost"))).toBe("none");
    const locked = join(parent, "locked.key");
    const cipher = { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "open!" } as const;
    await writeFile(locked, createPrivateKey(await readFile(pem("key"))).export(cipher));
    const withPassword = `${asked}&sslkey=${locked}&sslpassword=`;
    expect(await refusal(on(secured, `${withPassword}open!`, "localhost"))).toBe("none");
    expect(await refusal(on(secured, `${withPassword}wrong`, "localhost"))).toMatch(
      /cannot connect: .*ERR_OSSL/,
    );
  });

  const refusals: readonly (readonly [string, string, string])[] = [
    ["a certificate of an unknown authority", on(secured, `sslmode=verify-full&${byName}`), "as sslrootcert"],
    ["the same, if channel binding is asked for", on(secured, "channel_binding=require"), "as sslrootcert"],
    [
      "a certificate for another name",
      on(secured, `sslmode=verify-full&${rootCert}`),
      `the server's certificate is for another name than ${secured}: write the name that it is for`,
    ],
    [
      "a root certificate that is not there",
      on(secured, "sslrootcert=/nowhere.pem"),
      "sslrootcert cannot be read: ENOENT /nowhere.pem",
    ],
    [
      "no TLS where it is demanded",
      on(secured, "sslmode=disable", "demanding:pw"),
      "the server may ask for TLS; leave out sslmode=disable",
    ],
    [
      "no certificate where it is demanded",
      on(secured, "", "localhost:pw"),
      "check user, password and sslcert",
    ],
    [
      "a wrong password",
      on(secured, "", "easy:wr0ng"),
      'password authentication failed for user "easy": check user and password',
    ],
    ["no password", on(secured, "", "easy"), "the URL has no password"],
    ["an unknown user", on(plain, "", "stranger:pw"), "which users pg_hba.conf there lets in"],
    [
      "an unknown database",
      `postgres://easy:pw@${plain}/elsewhere`,
      'database "elsewhere" does not exist: create it, or',
    ],
    ["an unknown host", "postgres://easy:pw@nowhere.invalid/x", "the host nowhere.invalid "],
    [
      "a port without a server",
      `postgres://easy:pw@${plain}:1/x`,
      `nothing listens at ${plain}:1 (ECONNREFUSED): check`,
    ],
    [
      "a socket that is not there",
      "postgres:///x?host=/nowhere&port=6000",
      "there is no socket /nowhere/.s.PGSQL.6000: check",
    ],
  ];
  test.each(refusals)("with %s is refused for what it is", async (_, url, message) => {
    const told = await refusal(url);
    expect(told).toContain(`DATABASE_URL: cannot connect: `);
    expect(told).toContain(message);
    expect(told).not.toMatch(/wr0ng|:pw/);
  });

  test("serves as providers write its URL, from the first migration on", async () => {
    const url = on(
      secured,
      `sslmode=require&channel_binding=require&${rootCert}&${byName}&application_name=app&connect_timeout=15` +
        "&keepalives=1&target_session_attrs=read-write&options=-c%20search_path%3Dnowhere",
    );
    await migrate({ url, log });
    const database = createDatabase({ url, log });
    await assertServingRole(database);
    await database.close();
  });

  test("that is a standby is refused, since it takes no changes", async () => {
    const dataDir = join(parent, "standby");
    await (await startEmbeddedPostgres({ dataDir, log })).stop();
    const signal = join(dataDir, "postgres", "standby.signal");
    await writeFile(signal, "");
    const { uid, gid } = await stat(join(dataDir, "postgres"));
    await chown(signal, uid, gid);
    const standby = await startEmbeddedPostgres({ dataDir, log });
    servers.push(standby);
    expect(await refusal(standby.url)).toBe(
      "DATABASE_URL: this Postgres is a standby, which takes no changes; give the primary",
    );
  });
});

describe("what answers the question for TLS", () => {
  test.each([
    ["is not Postgres", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    // Whoever sits between could have them taken for what the server says inside TLS.
    ["sends more than the answer", "SE\0\0\0"],
  ])("and %s is refused", async (_, answer) => {
    const stranger = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.write(answer));
    });
    stranger.listen(0, "127.0.0.1");
    await once(stranger, "listening");
    const { port } = stranger.address() as AddressInfo;
    expect(await refusal(`postgres://me:pw@127.0.0.1:${port}/x`)).toBe(
      `DATABASE_URL: cannot connect: the server at 127.0.0.1:${port} is not Postgres: check host and port`,
    );
    stranger.close();
  });
});
