import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { presenter } from "../support/service.ts";
import { paste, patchbay, run, temporaryFolder, type Patchbay } from "./patchbay.ts";

// One data folder, from its first start on: each start of an embedded Postgres costs a second.
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let dataDir: string;
let service: Patchbay;
const services: Patchbay[] = [];
let url: string;
let adminKey: string;
const canary = "canary-of-the-environment";

beforeAll(async () => {
  folder = await temporaryFolder();
  // With a space, since people have such folders too.
  dataDir = join(folder.path, "my data");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function startAgain(): Promise<void> {
  const args = ["start", "--data-dir", dataDir, "--port", "0", "--log-level", "debug"];
  service = patchbay(args, { env: { SOMETHING_SECRET: canary } });
  services.push(service);
  url = await service.ready();
}

/** The command that the start printed, with all its lines. */
function printedCurl(): string {
  const [, command = ""] = /Try it:\n( {2}curl (?:.*\\\n)*.*)\n/.exec(service.stdout()) ?? [];
  return command;
}

const rest = (method: string, path: string, body?: unknown, key = adminKey) =>
  presenter(url, key).rest(method, path, body);

const permissions = async (file: string) => ((await stat(file)).mode & 0o777).toString(8);

describe("a first start without a terminal", () => {
  beforeAll(startAgain);

  test("writes the admin key to a file of its user's, and nowhere else", async () => {
    const file = join(dataDir, "admin-key");
    adminKey = (await readFile(file, "utf8")).trim();
    expect(adminKey).toMatch(/^qe_sk_sandbox_[A-Z2-7]{32}$/);
    expect(await permissions(file)).toBe("600");
    expect(service.stdout()).toContain(`Admin key    in ${file}, 0600`);
    expect(service.stdout()).not.toContain("qe_sk_");
  });

  test("prints a curl that calls the demo as it is pasted", async () => {
    const { stdout } = await paste(printedCurl());
    expect(JSON.parse(stdout)).toMatchObject({
      data: {
        status: 200,
        json: {
          message: "hello from the demo service",
          path: "/hello",
          credential: "a Bearer token of 32 characters, which you never saw",
        },
      },
    });
  });

  test("prints a curl that sends an event, and one that shows it", async () => {
    const [, sending = "", showing = ""] =
      /see that it came:\n( {2}curl .*\\\n.*)\n( {2}curl .*)\n/.exec(service.stdout()) ?? [];
    const sent = await paste(sending);
    expect(JSON.parse(sent.stdout)).toMatchObject({ seq: 1 });
    const { stdout } = await paste(showing);
    expect(JSON.parse(stdout)).toMatchObject({ data: { events: [{ seq: "1", type: "order.paid" }] } });
  });

  test("makes the root key beside the data and not in it, 0600", async () => {
    expect(await permissions(`${dataDir}.root-key`)).toBe("600");
    expect(await readdir(dataDir)).not.toContain(expect.stringContaining("root-key"));
    expect(service.stdout()).toMatch(/root key +created, 0600, .*\/my data\.root-key/);
  });

  test("makes an admin key that holds every scope", async () => {
    const me = await rest("GET", "/api/auth/me");
    expect(me.body.data).toMatchObject({ name: "admin", environment: "sandbox" });
    expect(me.body.data.scopes).toStrictEqual(
      expect.arrayContaining(["connections:use", "api:manage", "api:grant", "audit:view"]),
    );
  });

  test("records all that it made", async () => {
    const { body } = await rest("GET", "/api/audit/events");
    expect(body.data.events.map((event: { action: string }) => event.action)).toStrictEqual([
      "channel.create",
      "connection.test",
      "connection.create",
      "api_key.create",
      "organization.create",
    ]);
  });

  test("connects the demo, healthy from the first moment", async () => {
    const { body } = await rest("GET", "/api/service-connections");
    expect(body.data.connections).toMatchObject([
      { serviceSlug: "custom:echo", active: true, lastHealthyAt: expect.any(String) },
    ]);
    expect(body.data.connections[0]).not.toHaveProperty("unhealthy");
  });
});

describe("beside the running service", () => {
  test("keys create issues a key that works at once, and prints nothing else to stdout", async () => {
    const args = ["--data-dir", dataDir, "--name", "ops", "--scopes", "connections:view, connections:use"];
    const { code, stdout, stderr } = await run(["keys", "create", ...args]);
    expect([code, stdout]).toStrictEqual([0, expect.stringMatching(/^qe_sk_sandbox_[A-Z2-7]{32}\n$/)]);
    expect(stderr).toMatch(/^api key key_\S+ of org_\S+; its secret, shown once:\n$/);
    const me = await rest("GET", "/api/auth/me", undefined, stdout.trim());
    expect(me.body.data).toMatchObject({ name: "ops", scopes: ["connections:view", "connections:use"] });
  });

  test("org create makes an organisation that sees nothing of the first, and keys create keys for it", async () => {
    const created = await run(["org", "create", "globex", "--data-dir", dataDir]);
    const [, orgId = ""] = /^organisation (org_\S+), admin key key_\S+;/.exec(created.stderr) ?? [];
    const theirs = await rest("GET", "/api/service-connections", undefined, created.stdout.trim());
    expect(theirs).toMatchObject({ status: 200, body: { data: { connections: [] } } });

    const args = ["--org", orgId, "--name", "ops", "--scopes", "read"];
    const { stdout } = await run(["keys", "create", "--data-dir", dataDir, ...args]);
    const me = await rest("GET", "/api/auth/me", undefined, stdout.trim());
    expect(me.body.data).toMatchObject({ organizationId: orgId, name: "ops" });
  });

  test("audit verify verifies the record of each organisation, and prints its head", async () => {
    const { code, stdout } = await run(["audit", "verify", "--data-dir", dataDir]);
    expect([code, stdout]).toStrictEqual([
      0,
      expect.stringMatching(/^(ok {5}org_\S+ {2}\d+ events, (?:\d+ anchors?, )?head .*\n){2}$/),
    ]);
    const { body } = await rest("GET", "/api/audit/verify");
    expect(stdout).toContain(`  ${body.data.verifiedEvents} events, `);
    expect(stdout).toContain(` head ${body.data.head.seq}:${body.data.head.hash}\n`);
  });

  test("doctor finds everything in order", async () => {
    const { code, stdout } = await run(["doctor", "--data-dir", dataDir]);
    expect(stdout).toMatch(/^ok +database +embedded, of the running service$/m);
    expect(stdout).toMatch(/^ok +sealing +the root key opens what is stored$/m);
    expect(stdout).toMatch(
      /^ok +audit +the newest 1000 events of each organisation \(2\) are as recorded; /m,
    );
    expect([code, stdout]).toStrictEqual([0, expect.stringMatching(/^(ok .*\n)+$/)]);
  });

  test("doctor prints what docs/operating.md shows", async () => {
    const { stdout } = await run(["doctor", "--data-dir", dataDir, "--host", "0.0.0.0"]);
    const page = await readFile("docs/operating.md", "utf8");
    const [, shown = ""] = /^\$ patchbay doctor --host 0\.0\.0\.0\n(.*?)^```/ms.exec(page) ?? [];
    const alike = (text: string) =>
      text
        .replaceAll(dataDir, "./data")
        .replace(/org_\w+/g, "org_0")
        .replace(/\d+/g, "0");
    expect(alike(stdout)).toBe(alike(shown));
  });

  test.skipIf(process.platform !== "linux")(
    "Postgres gets nothing of the service's environment",
    async () => {
      const { stdout } = await paste(`pgrep -P ${service.pid}`);
      const children = stdout.trim().split("\n");
      for (const pid of children) {
        expect(await readFile(`/proc/${pid}/environ`, "utf8")).toMatch(/^PATH=(?!.*canary)/s);
      }
    },
  );
});

describe("a later start", () => {
  beforeAll(async () => {
    const { code, signal } = await service.kill("SIGTERM");
    expect([code, signal]).toStrictEqual([0, null]);
    await startAgain();
  });

  test("prints neither a key nor a curl", () => {
    expect(service.stdout()).not.toMatch(/curl|Admin key|Try it/);
    expect(service.stdout()).toMatch(/root key +\S*\/.*my data\.root-key\n/);
  });

  test("serves the demo again, where its connection expects it, still healthy", async () => {
    const called = await rest("POST", "/api/service-calls", {
      service: "custom:echo",
      method: "GET",
      path: "/",
    });
    expect(called).toMatchObject({ status: 200, body: { data: { status: 200 } } });
    const { body } = await rest("GET", "/api/service-connections");
    expect(body.data.connections[0]).not.toHaveProperty("unhealthy");
  });
});

test("no log of all these starts holds a key, the root key or the demo's token", async () => {
  const { token } = JSON.parse(await readFile(join(dataDir, "demo.json"), "utf8")) as { token: string };
  const rootKey = (await readFile(`${dataDir}.root-key`, "utf8")).trim();
  for (const { stdout } of services) {
    expect(stdout()).toContain('"rpc":');
    for (const secret of [adminKey, token, rootKey, "qe_sk_"]) expect(stdout()).not.toContain(secret);
  }
});

test("the data is refused to another root key, by doctor too", async () => {
  await service.kill("SIGTERM");
  const env = { PATCHBAY_ROOT_KEY: Buffer.alloc(32, 7).toString("base64") };
  const started = await run(["start", "--data-dir", dataDir, "--port", "0"], { env });
  const examined = await run(["doctor", "--data-dir", dataDir], { env });
  const refusal =
    /does not open this database, .*set PATCHBAY_ROOT_KEY, .* to that key; to replace it .* as PATCHBAY_SECOND_ROOT_KEY, .*_URL\n/;
  expect([started.code, started.stderr]).toStrictEqual([1, expect.stringMatching(refusal)]);
  expect([examined.code, examined.stdout]).toStrictEqual([
    1,
    expect.stringMatching(/^fail +sealing +the root key/m),
  ]);
});
