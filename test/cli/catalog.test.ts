import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { patchbay, run, shellCommand, temporaryFolder } from "./patchbay.ts";

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
  expect((await cli("show", "aml")).stdout).toBe(
    "ACTION               ENDPOINT                           SCOPE      NAME\n" +
      "aml/submitSarFiling  POST /api/sar-filings/{id}/submit  sar:write  Submit SAR filing\n",
  );
  const shown = await cli("show", "aml/POST /api/sar-filings/{id}/submit");
  expect(shown.stdout).toContain("action    aml/submitSarFiling\n");
  expect(shown.stdout).toMatch(/^parameters:\n\{\n /m);
  const [found, filtered, listed] = await Promise.all([
    cli("search", "submit sar"),
    cli("search", "--scope", "sar:write", "--method", "post", "--slug", "aml"),
    cli("show", "aml"),
  ]);
  expect([found.stdout, filtered.stdout]).toStrictEqual([listed.stdout, listed.stdout]);
  const json = JSON.parse((await cli("list", "--json")).stdout);
  const { body } = await service.org.rest("GET", "/api/catalog/services");
  expect(json).toStrictEqual(body.data);
});

test.each([
  ["show identity", "service is not connected; register it with POST /api/service-connections"],
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
function bank(parameters: object[]): string {
  const content = { "application/json": { schema: { type: "object" } } };
  const responses = { 200: { description: "Success.", content } };
  const accounts = { get: { operationId: "listAccounts", summary: "List accounts", parameters, responses } };
  const document = {
    openapi: "3.1.0",
    info: { title: "Bank", version: "2" },
    paths: { "/accounts": accounts },
  };
  return JSON.stringify(document, null, 1);
}

const limit = { name: "limit", in: "query", schema: { type: "integer" } };

describe("a document", () => {
  const slug = "custom:bank";
  const file = () => join(folder.path, "bank.json");
  const pipe = (document: string, ...args: string[]) => {
    const command = `printf %s '${document}' | ${shellCommand(["catalog", ...args])}`;
    return patchbay(["-c", command], { command: ["/bin/sh"], env: env() }).ended;
  };

  test("is imported from a file, and what differs is said", async () => {
    await writeFile(file(), bank([limit]));
    const imported = await cli("import", file(), "--slug", slug);
    expect(imported).toStrictEqual({
      code: 0,
      stdout: expect.stringMatching(/^custom:bank: [12] operations of Bank \(openapi-3.1\), imported as revision 1\n\d added, 0 changed, 0 removed\n(?: {2}\+ GET .*\n)+(?: {2}\* .*\n)*$/) as string, // prettier-ignore
      stderr: "",
    });
    const again = await cli("import", file(), "--slug", slug);
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(again.stdout).toContain("(openapi-3.1), in force already, as revision 1\nno operation differs\n");
  });

  test("that is none is refused, and so is what is no revision", async () => {
    expect(await pipe("nothing", "import", "-", "--slug", slug)).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^patchbay: .+\n$/) as string,
    });
    expect(await cli("activate", slug, "one")).toStrictEqual({
      code: 1,
      stdout: "",
      stderr: "patchbay: one is no revision: give its number\n",
    });
    expect(await cli("activate", slug, "99")).toMatchObject({ code: 1, stdout: "" });
    expect(await cli("refresh", slug, "--daily", "yes")).toMatchObject({
      code: 1,
      stderr: "patchbay: --daily: give on or off\n",
    });
  });
});
