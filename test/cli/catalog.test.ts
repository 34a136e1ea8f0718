import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { run } from "./patchbay.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
  for (const serviceSlug of ["aml", "custom:ledger"]) {
    const connection = { serviceSlug, baseUrl: `https://ledger.example/base`, apiKey: "k" };
    await service.org.client.connections.upsertServiceConnection(connection);
  }
});
afterAll(() => service[Symbol.asyncDispose]());

async function cli(...args: string[]) {
  const env = { PATCHBAY_URL: service.url, PATCHBAY_KEY: service.org.secret };
  const { code, stdout, stderr } = await run(["catalog", ...args], { env });
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
  const json = JSON.parse((await cli("list", "--json")).stdout);
  const { body } = await service.org.rest("GET", "/api/catalog/services");
  expect(json).toStrictEqual(body.data);
});

test.each([
  ["show identity", "no service identity is connected; patchbay catalog list shows those that are"],
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
