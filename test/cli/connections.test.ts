import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { insertOAuthConnection, oauth2 } from "../support/oauth-grants.ts";
import { freePort } from "../support/ports.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { patchbay, run, shellCommand, temporaryFolder } from "./patchbay.ts";

let service: TestService;
let upstream: Upstream;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const apiKey = "the-ledgers-own-key";

beforeAll(async () => {
  [service, upstream, folder] = await Promise.all([startService(), startUpstream(), temporaryFolder()]);
  await writeFile(join(folder.path, "key"), `${apiKey}\n`);
  await put("custom:ledger");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});
beforeEach(() => upstream.answer({}));

const env = () => ({ PATCHBAY_URL: service.url, PATCHBAY_KEY: service.org.secret });

/** Runs the command: its code, and what it wrote. */
async function cli(...args: string[]) {
  const { code, stdout, stderr } = await run(args, { env: env() });
  return { code, stdout, stderr };
}

async function put(slug: string) {
  const file = join(folder.path, "key");
  const args = ["put", slug, "--base-url", `${upstream.url}/base`, "--api-key-file", file, "--json"];
  const { stdout, stderr } = await cli("connections", ...args);
  expect(stderr).toBe("");
  return JSON.parse(stdout) as { id: string; serviceSlug: string };
}

/** Runs the command with this on stdin. */
function fed(input: string, ...args: string[]) {
  const command = `printf %s '${input}' | ${shellCommand(args)}`;
  return patchbay(["-c", command], { command: ["/bin/sh"], env: env() }).ended;
}

test("a connection is put, listed, shown, tested and removed, by slug and by id", async () => {
  const { id } = await put("custom:whole-life");
  const listed = await cli("connections", "list");
  expect(listed.stdout).toMatch(/^SLUG +ID +INTEGRATION +BASE URL +STATE +LAST USED\n/);
  expect(listed.stdout).toMatch(
    new RegExp(`^custom:whole-life +${id} +custom:whole-life +${upstream.url}/base +active +never$`, "m"),
  );
  for (const ref of [id, "custom:whole-life"]) {
    expect((await cli("connections", "get", ref)).stdout).toContain(
      `id           ${id}\nslug         custom:whole-life\n`,
    );
  }
  expect(await cli("connections", "test", id)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^ok, \d+ ms\n$/) as string,
  });
  expect(await cli("connections", "rm", "custom:whole-life")).toStrictEqual({
    code: 0,
    stdout: `deleted custom:whole-life (${id})\n`,
    stderr: "",
  });
  expect(await cli("connections", "get", "custom:whole-life")).toMatchObject({
    code: 1,
    stderr: "patchbay: no connection custom:whole-life; patchbay connections list shows those there are\n",
  });
});

test("answers are JSON for scripts, as REST has them", async () => {
  const { stdout } = await cli("connections", "list", "--json");
  const { body } = await service.org.rest("GET", "/api/connections");
  expect(JSON.parse(stdout)).toStrictEqual(body.data);
});

test("a key is read from a file or from stdin, and never shown", async () => {
  const args = ["connections", "put", "custom:piped", "--base-url", upstream.url, "--api-key-file", "-"];
  const piped = await fed("piped-key", ...args);
  expect([piped.code, piped.stdout + piped.stderr]).toStrictEqual([
    0,
    expect.not.stringContaining("piped-key"),
  ]);
  await cli("call", "custom:piped", "GET", "/");
  expect(upstream.asked.at(-1)!.headers.authorization).toBe("Bearer piped-key");
});

test("stdin is read for one secret only, and nothing is stored when it is named for two", async () => {
  const args = ["connections", "put", "custom:twice", "--base-url", upstream.url, "--auth", "basic"];
  const put = await fed("ada", ...args, "--secret", "username=-", "--secret", "password=-");
  expect([put.code, put.stderr]).toStrictEqual([
    1,
    "patchbay: -: stdin is read once; give a file for the other\n",
  ]);
  expect((await cli("connections", "get", "custom:twice")).code).toBe(1);
});

test.each([
  [[], "--auth: name a way to sign in; patchbay integrations list shows those of github"],
  [
    ["--auth", "token", "--api-key-file", "/dev/null"],
    "--api-key-file and --scopes are for built-in and custom services; github takes --auth and --secret",
  ],
])("a preset with the options %j is refused in the words of the command", async (args, problem) => {
  expect(await cli("connections", "put", "github", ...args)).toMatchObject({
    code: 1,
    stderr: `patchbay: ${problem}\n`,
  });
});

test("a connection of any auth method is put, its secrets from files", async () => {
  const file = join(folder.path, "password");
  await writeFile(file, "pass:wörd\n");
  const args = ["custom:basic", "--base-url", upstream.url, "--auth", "basic", "--set", "username=ada"];
  const put = await cli("connections", "put", ...args, "--secret", `password=${file}`);
  expect(put).toMatchObject({ code: 0, stdout: expect.stringContaining("auth         basic\n") as string });
  await cli("call", "custom:basic", "GET", "/");
  const sent = Buffer.from("ada:pass:wörd").toString("base64");
  expect(upstream.asked.at(-1)!.headers.authorization).toBe(`Basic ${sent}`);
});

test("a connection of a preset is made, listed without a slug, and removed by its id", async () => {
  const file = join(folder.path, "token");
  await writeFile(file, "ghp_0123456789");
  const made = await cli(
    "connections",
    "put",
    "github",
    "--auth",
    "token",
    "--secret",
    `token=${file}`,
    "--json",
  );
  expect(made.stderr).toBe("");
  const { id } = JSON.parse(made.stdout) as { id: string };
  const listed = await cli("connections", "list");
  expect(listed.stdout).toMatch(
    new RegExp(`^- +${id} +github +https://api\\.github\\.com +active +never$`, "m"),
  );
  expect((await cli("connections", "rm", id)).stdout).toBe(`deleted github (${id})\n`);
});

test("a connection that waits for a person has a link for that person", async () => {
  const tokenUrl = "http://127.0.0.1:9/token";
  const method = oauth2({ authorizationUrl: "http://127.0.0.1:9/authorize", tokenUrl });
  const slug = "custom:waits";
  await insertOAuthConnection(service.postgres, service.org.orgId, { method, slug });
  expect(await cli("connections", "get", slug)).toMatchObject({
    stdout: expect.stringMatching(/^state {8}PENDING_AUTHORIZATION$/m) as string,
  });
  const { code, stdout } = await cli("connections", "authorize", slug, "--scopes", "read,write");
  expect([code, stdout]).toStrictEqual([
    0,
    expect.stringMatching(
      new RegExp(`^open once {5}${service.url}/connect#\\S{20,}\nuntil {9}\\d{4}-.*Z\n$`),
    ),
  ]);
  expect(await cli("call", slug, "GET", "/")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("/authorize") as string,
  });
  expect(await cli("connections", "authorize", "custom:ledger")).toMatchObject({ code: 1, stdout: "" });
  // Nobody signed in, so there are no tokens of which it could say anything.
  expect(await cli("connections", "rm", slug, "--json")).toMatchObject({ code: 0, stdout: "{}\n" });
});

test("a connection that gives no sign of life fails its test", async () => {
  const args = ["custom:dead", "--base-url", `http://127.0.0.1:${await freePort()}`];
  await cli("connections", "put", ...args, "--api-key-file", join(folder.path, "key"));
  expect(await cli("connections", "test", "custom:dead")).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^failed: TCP: /) as string,
  });
});

describe("a call", () => {
  test("goes out with the connection's key, and prints the body of the answer", async () => {
    upstream.answer({ body: '{"id":7}' });
    const call = [
      "post",
      "/accounts?q=a%20b",
      "-q",
      "n=1",
      "-q",
      "n=2",
      "-H",
      "X-Kind: a",
      "-d",
      '{"n":1.0}',
    ];
    expect(await cli("call", "custom:ledger", ...call)).toStrictEqual({
      code: 0,
      stdout: '{\n  "id": 7\n}\n',
      stderr: "",
    });
    expect(upstream.asked.at(-1)).toMatchObject({
      method: "POST",
      url: "/base/accounts?q=a%20b&n=1&n=2",
      headers: { authorization: `Bearer ${apiKey}`, "x-kind": "a", "content-type": "application/json" },
      body: '{"n":1.0}',
    });
  });

  test("takes its body from a file, or from stdin, as it is", async () => {
    const file = join(folder.path, "body");
    await writeFile(file, Buffer.from([0, 255, 10]));
    await cli("call", "custom:ledger", "PUT", "/x", "-d", `@${file}`, "-H", "content-type: image/x");
    expect(upstream.asked.at(-1)).toMatchObject({
      headers: { "content-length": "3", "content-type": "image/x" },
    });
    await fed("from stdin", "call", "custom:ledger", "PUT", "/x", "-d", "-");
    expect(upstream.asked.at(-1)).toMatchObject({
      body: "from stdin",
      headers: { "content-type": "application/octet-stream" },
    });
  });

  test("prints status and headers first when it is asked to", async () => {
    upstream.answer({ status: 201, headers: { "content-type": "text/plain", "x-kind": "a" }, body: "made" });
    const { stdout } = await cli("call", "custom:ledger", "POST", "/x", "-i");
    expect(stdout).toMatch(/^201\n(?:.+\n)*x-kind: a\n(?:.+\n)*\nmade$/);
  });

  test("that the service refuses prints its answer, and fails", async () => {
    upstream.answer({ status: 404, headers: { "content-type": "text/plain" }, body: "no such account" });
    expect(await cli("call", "custom:ledger", "GET", "/x")).toStrictEqual({
      code: 1,
      stdout: "no such account",
      stderr: "patchbay: the service answered 404\n",
    });
  });

  test("is JSON for scripts, with status and headers", async () => {
    const { stdout } = await cli("call", "custom:ledger", "GET", "/x", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ status: 200, headers: {}, json: {} });
  });

  test.each<[string[], string]>([
    [["custom:none", "GET", "/"], "service is not connected; register it with POST /api/service-connections"],
    [["custom:ledger", "GET", "/../x"], "path: the segments . and .. are not sent, encoded or not"],
    [["custom:ledger", "GET", "/", "-H", "Bearer secret"], '--header: give "name: value"'],
    [["custom:ledger", "GET", "/", "-q", "x"], "--query: give name=value"],
  ])("%j fails with the words of the service", async (args, problem) => {
    expect(await cli("call", ...args)).toMatchObject({ code: 1, stderr: `patchbay: ${problem}\n` });
  });
});

describe("the key is", () => {
  const list = async (more: Record<string, string>, ...args: string[]) => {
    const { code, stderr } = await run(["connections", "list", ...args], {
      env: { PATCHBAY_URL: service.url, ...more },
    });
    return code === 0 ? "listed" : stderr;
  };

  test("the one in the environment, in a named file, or beside the data", async () => {
    const file = join(folder.path, "admin-key");
    await writeFile(file, `${service.org.secret}\n`);
    expect(await list({ PATCHBAY_KEY: service.org.secret })).toBe("listed");
    expect(await list({ PATCHBAY_DATA_DIR: folder.path })).toBe("listed");
    expect(await list({ PATCHBAY_KEY: "wrong" }, "--key-file", file)).toBe("listed");
  });

  test("asked for when there is none, and refused in the service's words when it is not good", async () => {
    expect(await list({ PATCHBAY_DATA_DIR: "/nowhere" })).toBe(
      "patchbay: /nowhere/admin-key cannot be read (ENOENT): give the API key in PATCHBAY_KEY, or its file with --key-file\n",
    );
    expect(await list({ PATCHBAY_KEY: "wrong" })).toBe("patchbay: missing or invalid Bearer\n");
  });

  test("not sent anywhere but to the service, whose absence is said", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    expect(await list({ PATCHBAY_KEY: "k" }, "--url", url)).toMatch(
      new RegExp(
        `^patchbay: no answer from a Patchbay at ${url} \\(.*ECONNREFUSED.*\\): start one, or name it with`,
      ),
    );
  });
});
