import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { hasTerminal, patchbay, patchbayOnTerminal, run, shellCommand, temporaryFolder } from "./patchbay.ts";

let service: TestService;
let upstream: Upstream;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  [service, upstream, folder] = await Promise.all([startService(), startUpstream(), temporaryFolder()]);
  for (const serviceSlug of ["aml", "custom:ledger"]) {
    const connection = { serviceSlug, baseUrl: `https://ledger.example/base`, apiKey: "k" };
    await service.org.client.connections.upsertServiceConnection(connection);
  }
});
afterAll(async () => {
  for (const one of [service, upstream, folder]) await one[Symbol.asyncDispose]();
});

const env = () => ({ PATCHBAY_URL: service.url, PATCHBAY_KEY: service.org.secret });

async function cli(...args: string[]) {
  const { code, stdout, stderr } = await run(["catalog", ...args], { env: env() });
  return { code, stdout, stderr };
}

test("the connected services are listed, their operations too, and one operation with its schemas", async () => {
  expect(await cli("list")).toStrictEqual({
    code: 0,
    stdout:
      "SLUG           NAME    OPERATIONS  BASE URL\n" +
      "aml            AML     1           https://ledger.example/base\n" +
      "custom:ledger  ledger  0           https://ledger.example/base\n",
    stderr: "",
  });
  const listed =
    "ACTION               ENDPOINT                           SCOPE      NAME\n" +
    "aml/submitSarFiling  POST /api/sar-filings/{id}/submit  sar:write  Submit SAR filing\n";
  expect((await cli("show", "aml")).stdout).toBe(listed);
  const shown = await cli("show", "aml/POST /api/sar-filings/{id}/submit");
  expect(shown.stdout).toContain("action    aml/submitSarFiling\n");
  expect(shown.stdout).toMatch(/^parameters:\n\{\n /m);
  const words = ["submit sar", "--scope", "sar:write", "--method", "post", "--slug", "aml"];
  expect((await cli("search", ...words)).stdout).toBe(listed);
  const json = JSON.parse((await cli("list", "--json")).stdout);
  const { body } = await service.org.rest("GET", "/api/catalog/services");
  expect(json).toStrictEqual(body.data);
});

test("whoever reads what is printed may stop", async () => {
  const command = `{ ${shellCommand(["catalog", "list"])}; echo "code $?" >&2; } | true`;
  const { stderr } = await patchbay(["-c", command], { command: ["/bin/sh"], env: env() }).ended;
  expect(stderr).toBe("code 0\n");
});

test.each([
  ["show aml/submit", "no operation aml/submit; patchbay catalog show aml lists those there are"],
  [
    "types --slug custom:ledger",
    "no operations of custom:ledger are known; patchbay catalog import takes its OpenAPI document",
  ],
])("%s fails and says what to do", async (command, problem) => {
  expect(await cli(...command.split(" "))).toStrictEqual({
    code: 1,
    stdout: "",
    stderr: `patchbay: ${problem}\n`,
  });
});

test("types of a service's operations are printed for the compiler", async () => {
  expect(await cli("types", "--slug", "aml")).toStrictEqual({
    code: 0,
    stdout: `// What is called at aml, from: patchbay catalog types --slug aml

export interface Operations {
  /** Submit SAR filing */
  "aml/submitSarFiling": {
    input: {
      path: {
        /** The filing. */
        id: string;
      };
    };
    output: unknown;
  };
}
`,
    stderr: "",
  });
});

/** A bank's document, as JSON with line breaks. */
function bank(parameters: object[], paths: object = {}): string {
  const content = { "application/json": { schema: { type: "object" } } };
  const responses = { 200: { description: "Success.", content } };
  const accounts = { get: { operationId: "listAccounts", summary: "List accounts", parameters, responses } };
  const document = {
    openapi: "3.1.0",
    info: { title: "Bank", version: "2" },
    paths: { "/accounts": accounts, ...paths },
  };
  return JSON.stringify(document, null, 1);
}

const limit = { name: "limit", in: "query", schema: { type: "integer" } };
const since = { name: "since", in: "query", required: true, schema: { type: "string" } };
const elsewhere = { "/cards": { get: { responses: { 200: { $ref: "cards.yaml#/ok" } } } } };

describe("a document", () => {
  const slug = "custom:bank";
  const file = () => join(folder.path, "bank.json");
  const pipe = (document: string, ...args: string[]) => {
    const command = `printf %s '${document}' | ${shellCommand(["catalog", ...args])}`;
    return patchbay(["-c", command], { command: ["/bin/sh"], env: env() }).ended;
  };

  test("is imported from a file; what differs and what is left out is said", async () => {
    await writeFile(file(), bank([limit], elsewhere));
    const outside = '$ref "cards.yaml#/ok" is outside of the document, where nothing is read';
    expect(await cli("import", file(), "--slug", slug)).toStrictEqual({
      code: 0,
      stdout: `custom:bank: 1 operation of Bank (openapi-3.1), imported as revision 1
1 added, 0 changed, 0 removed
  + GET /accounts
  * the integration "Bank" is new
  * the auth method bearer is new
  * the auth method basic is new
  * the auth method api-key is new
left out, or wrong: 2
  /paths/~1cards/get/responses/200, line 38: ${outside}
  /paths/~1cards/get, line 36: ${outside}, so it is omitted
`,
      stderr: "",
    });
    const again = await cli("import", file(), "--slug", slug);
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(again.stdout).toContain("(openapi-3.1), in force already, as revision 1\nno operation differs\n");
  });

  test("that is only looked at changes nothing, and ends with code 3 if callers would have to change", async () => {
    const harmless = await pipe(
      bank([limit, { ...since, required: false }]),
      "import",
      "-",
      "--slug",
      slug,
      "--dry-run",
    );
    expect(harmless).toMatchObject({ code: 0, stderr: "" });
    const breaking = await pipe(bank([since]), "import", "-", "--slug", slug, "--dry-run");
    expect(breaking).toMatchObject({ code: 3, stderr: "" });
    expect(breaking.stdout).toBe(`custom:bank: 1 operation of Bank (openapi-3.1), not imported yet
0 added, 1 changed, 0 removed; callers may have to change
  ~ GET /accounts, breaking
      query parameter "limit" is gone
      query parameter "since" is new and required
`);
    expect((await cli("revisions", slug)).stdout).toMatch(/^REVISION .*\n1 +yes .*\n$/);
  });

  test("that a service publishes is compared through its connection, and imported if that is asked for", async () => {
    const connection = { serviceSlug: slug, baseUrl: upstream.url, apiKey: "k" };
    await service.org.client.connections.upsertServiceConnection(connection);
    upstream.answer({ body: bank([since]) });
    const compared = await cli("refresh", slug);
    expect(compared).toMatchObject({ code: 3, stderr: "" });
    expect(compared.stdout).toContain("custom:bank: its own document, not imported yet\n");
    const applied = await cli("refresh", slug, "--apply", "--daily", "on");
    expect(applied).toMatchObject({ code: 0, stderr: "" });
    expect(applied.stdout).toContain("custom:bank: its own document, imported; it is compared daily\n");
    expect((await cli("revisions", slug)).stdout).toMatch(
      /^2 +yes .*\n1 +- .*\n(?:.*\n)*compared daily, next at 2/m,
    );
    expect((await cli("activate", slug, "1")).stdout).toMatch(
      /^custom:bank: revision 1 is in force, with 1 operation\n/,
    );
    expect((await cli("revisions", slug, "1")).stdout).toMatch(
      /^1 +yes .*\nleft out, or wrong: 2\n {2}\/paths\/~1cards\/get/m,
    );
  });

  test.runIf(hasTerminal)("that takes long is reported on, on a terminal, until it is there", async () => {
    const asked = Promise.withResolvers<void>();
    upstream.answer(async () => {
      await asked.promise;
      return { body: bank([limit]) };
    });
    await using command = patchbayOnTerminal(shellCommand(["catalog", "refresh", slug]), { env: env() });
    const isReported = () => command.stdout().includes(`asking ${slug} for its document, 1 s`);
    await vi.waitUntil(isReported, { timeout: 30_000 }).finally(asked.resolve);
    const { code, stdout } = await command.ended;
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("own document") as string,
    });
  });

  test("that is none is refused, and so is what is no revision", async () => {
    expect(await pipe("nothing", "import", "-", "--slug", slug)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^patchbay: .+\n$/) as string,
    });
    await writeFile(join(folder.path, "large.json"), Buffer.alloc(16 * 1024 * 1024 + 1, " "));
    const large = await cli("import", join(folder.path, "large.json"), "--slug", slug);
    expect(large).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^patchbay: .*large\.json is larger than 16 MiB\n$/) as string,
    });
    expect(await cli("activate", slug, "one")).toStrictEqual({
      code: 1,
      stdout: "",
      stderr: "patchbay: one is no revision: give its number\n",
    });
  });
});
