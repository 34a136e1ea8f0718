import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { run, temporaryFolder } from "./patchbay.ts";

let service: TestService;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  service = await startService();
  folder = await temporaryFolder();
});
afterAll(async () => {
  await folder[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

const audit = (...args: string[]) =>
  run(["audit", ...args], { env: { PATCHBAY_URL: service.url, PATCHBAY_KEY: service.org.secret } });
/** Without a service, a database or any setting. */
const verify = (...args: string[]) => run(["audit", "verify", ...args], { env: {} });

test("an export is verified with the file and the public key alone, and ends with 1 once a letter of it is another", async () => {
  const file = join(folder.path, "audit.ndjson");
  const keyFile = join(folder.path, "audit-key.pem");
  const exported = await audit("export", "--output", file);
  expect([exported.code, exported.stdout, exported.stderr]).toStrictEqual([0, "", ""]);
  expect(await readdir(folder.path)).toStrictEqual(["audit.ndjson"]);
  await writeFile(keyFile, (await service.org.client.audit.getAuditKey({})).publicKey);

  const { head } = await service.org.client.audit.verifyAudit({});
  const whole = await verify(file, "--public-key", keyFile);
  expect([whole.code, whole.stderr, whole.stdout]).toStrictEqual([
    ...[0, ""],
    `ok     ${service.org.orgId}  3 events, head 3:${head!.hash}, exported at ${service.clock.now().toISOString()}, 1 signature\n`,
  ]);
  const unchecked = await verify(file);
  expect([unchecked.code, unchecked.stdout]).toStrictEqual([
    ...[0, expect.stringMatching(/signatures were not checked: give --public-key\n$/)],
  ]);

  const known = await verify(file, "--head", `3:${"0".repeat(64)}`);
  expect([known.code, known.stdout]).toStrictEqual([
    ...[1, `FAULT  ${service.org.orgId}  event 3: it differs from a known head\n`],
  ]);

  const text = await readFile(file, "utf8");
  await writeFile(file, text.replace("organization.create", "organization.delete"));
  const changed = await verify(file, "--public-key", keyFile);
  expect([changed.code, changed.stdout]).toStrictEqual([
    ...[1, `FAULT  ${service.org.orgId}  event 1: it was changed after it was recorded\n`],
  ]);
  await writeFile(file, text.split("\n").slice(0, 3).join("\n"));
  expect(await verify(file)).toMatchObject({
    ...{ code: 1, stdout: `FAULT  ${file}  line 4: the end is missing, so the file was cut\n` },
  });
  expect(await audit("export", "--output", file)).toMatchObject({
    ...{ code: 1, stderr: `patchbay: --output: ${file} is there already; name a new file\n` },
  });
});

test("what a killed export left in the way of the next is said by name, and stays", async () => {
  const file = join(folder.path, "next.ndjson");
  await writeFile(`${file}.part`, "half");
  const { code, stderr } = await audit("export", "--output", file);
  expect([code, stderr]).toStrictEqual([
    ...[
      1,
      expect.stringContaining(`${file}.part is there, of an export that runs or was killed: remove it if`),
    ],
  ]);
  expect(await readFile(`${file}.part`, "utf8")).toBe("half");
});

test("CSV goes to stdout, and what the service refuses is said in its words", async () => {
  const csv = await audit("export", "--format", "csv", "--after", "1");
  expect([csv.code, csv.stdout.split("\r\n")[0]]).toStrictEqual([
    ...[0, "seq,at,action,target,api_key_id,user_id,request_id,details"],
  ]);
  expect(await audit("export", "--format", "xml")).toMatchObject({
    ...{ code: 1, stderr: "patchbay: format: give ndjson or csv\n" },
  });
  // A flag that changes nothing would have scripts take CSV for JSON.
  expect(await audit("export", "--json")).toMatchObject({
    ...{ code: 1, stdout: "", stderr: "error: unknown option '--json'\n" },
  });
});

test("what is given to verify a file is refused by name if it is of no use", async () => {
  const missing = join(folder.path, "none");
  const csv = join(folder.path, "audit.csv");
  await writeFile(csv, "seq,at\r\n1,2026\r\n");
  expect(await verify(missing)).toMatchObject({
    ...{
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^patchbay: \S+none cannot be read \(ENOENT\)\n$/),
    },
  });
  expect(await verify(csv)).toMatchObject({
    ...{ code: 1, stdout: expect.stringMatching(/^FAULT {2}\S+csv {2}line 1: .* CSV cannot be verified\n$/) },
  });
  expect(await verify(csv, "--public-key", csv)).toMatchObject({
    ...{
      code: 1,
      stderr: expect.stringMatching(/holds no Ed25519 key in PEM; GET \/api\/audit\/key answers one\n$/),
    },
  });
  expect(await verify(csv, "--org", "org_1")).toMatchObject({
    ...{
      code: 1,
      stderr: "patchbay: --org is for the database; a file is of one organisation\n",
    },
  });
});
