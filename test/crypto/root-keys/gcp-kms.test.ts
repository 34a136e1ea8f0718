import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeyManagementServiceClient } from "@google-cloud/kms";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { checkRootKey } from "#src/crypto/check-root-key.ts";
import { crc32c } from "#src/crypto/root-keys/crc32c.ts";
import { gcpError, startFakeGcpKms, type FakeGcpKms } from "./fake-gcp-kms.ts";
import type { FakeKey } from "./fake-key.ts";
import { context, newKey, open, outcome } from "./support.ts";

const name = "projects/project/locations/europe-west3/keyRings/ring/cryptoKeys/patchbay";
const keyFile = join(tmpdir(), `patchbay-gcp-${process.pid}.json`);
let kms: FakeGcpKms;
let versions: FakeKey;
const at = (key: string) => `gcpkms://${key}?endpoint=${kms.url}`;

beforeAll(async () => {
  kms = await startFakeGcpKms();
  versions = kms.newKey(name);
  await writeFile(keyFile, kms.keyFile, { mode: 0o600 });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await kms[Symbol.asyncDispose]();
  await rm(keyFile);
});

beforeEach(() => {
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", keyFile);
  kms.failWith(() => undefined);
  kms.tamper((_, answer) => answer);
});

test("what a key of Google Cloud KMS wraps, it unwraps for the same record and no other", async () => {
  const rootKey = await open(at(name));
  expect(rootKey.id).toBe(`gcpkms:${name}`);
  await checkRootKey(rootKey);
  const key = newKey();
  const wrapped = await rootKey.wrap(key, context);
  expect(wrapped.includes(key)).toBe(false);
  expect(await rootKey.unwrap(wrapped, context)).toStrictEqual(key);
  expect(await outcome(rootKey.unwrap(wrapped, ["kek", "org_2", "1"]))).toBe("broken");
  expect(await outcome(rootKey.unwrap(Buffer.from("changed"), context))).toBe("broken");
  expect(await outcome(rootKey.unwrap(randomBytes(61), context))).toBe("broken");
  kms.newKey(`${name}-2`);
  expect(await outcome((await open(at(`${name}-2`))).unwrap(wrapped, context))).toBe("broken");
});

test("what it wrapped, Google's client unwraps by itself", async () => {
  const key = newKey();
  const ciphertext = await (await open(at(name))).wrap(key, context);
  const { hostname, port } = new URL(kms.url);
  const client = new KeyManagementServiceClient({
    fallback: true,
    apiEndpoint: hostname,
    port: Number(port),
    ...{ protocol: "http" },
  });
  const additionalAuthenticatedData = Buffer.from('["kek","org_1","1"]');
  const [{ plaintext }] = await client.decrypt({ name, ciphertext, additionalAuthenticatedData });
  expect(Buffer.from(plaintext as string, "base64")).toStrictEqual(key);
});

test("a key whose primary version changes in KMS unwraps what earlier versions wrapped", async () => {
  const rootKey = await open(at(name));
  const key = newKey();
  const wrapped = await rootKey.wrap(key, context);
  versions.rotate();
  expect(await rootKey.unwrap(wrapped, context)).toStrictEqual(key);
  await checkRootKey(rootKey);
});

test("an outage of a moment is not noticed, and one that lasts is one of KMS", async () => {
  const rootKey = await open(at(name));
  const wrapped = await rootKey.wrap(newKey(), context);
  for (const answer of [
    gcpError(503, "UNAVAILABLE", ""),
    gcpError(429, "RESOURCE_EXHAUSTED", ""),
    { status: 502, body: "<html>" },
    gcpError(
      400,
      "INVALID_ARGUMENT",
      "The checksum in field ciphertext_crc32c did not match the data in field ciphertext.",
    ),
  ]) {
    kms.failWith((_, tries) => (tries < 3 ? answer : undefined));
    expect(await outcome(rootKey.unwrap(wrapped, context))).toBe("ok");
  }
  const asked = kms.asked.length;
  kms.failWith(() => gcpError(500, "INTERNAL", "Internal error"));
  expect(await outcome(rootKey.unwrap(wrapped, context))).toBe(
    "outage: Google Cloud KMS failed with INTERNAL",
  );
  expect(kms.asked.length - asked).toBe(3);
});

test.each([
  [403, "PERMISSION_DENIED", /grant roles\/cloudkms\.cryptoKeyEncrypterDecrypter/],
  [404, "NOT_FOUND", /check project, location, ring and key/],
  [400, "FAILED_PRECONDITION", /disabled or destroyed/],
  [401, "UNAUTHENTICATED", /check the credentials/],
] as const)("%i %s is a refusal that says what to change", async (code, status, advice) => {
  const rootKey = await open(at(name));
  const wrapped = await rootKey.wrap(newKey(), context);
  kms.failWith(() => gcpError(code, status, "canary: what was sent"));
  for (const work of [rootKey.unwrap(wrapped, context), rootKey.wrap(newKey(), context)]) {
    const found = await outcome(work);
    expect(found).toMatch(new RegExp(`^refused: Google Cloud KMS refuses ${name} with ${status}: `));
    expect(found).toMatch(advice);
  }
});

test("credentials that are not there are something to change, and are found once they are there", async () => {
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", `${keyFile}.missing`);
  const rootKey = await open(at(name));
  expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
    /^refused: .*was not asked .*check the credentials/,
  );
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", undefined);
  vi.stubEnv("METADATA_SERVER_DETECTION", "none");
  vi.stubEnv("HOME", `${keyFile}.nobody`);
  expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
    /^refused: .*was not asked .*check the credentials/,
  );
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", keyFile);
  expect(await outcome(rootKey.wrap(newKey(), context))).toBe("ok");
});

test.each([
  [
    "Encrypt whose ciphertext was damaged",
    "encrypt",
    { ciphertextCrc32c: "1" },
    /do not match their checksum/,
  ],
  ["Encrypt without a checksum", "encrypt", { ciphertextCrc32c: undefined }, /do not match their checksum/],
  ["Encrypt that did not check the key", "encrypt", { verifiedPlaintextCrc32c: false }, /did not check/],
  [
    "Encrypt that did not check the record",
    "encrypt",
    { verifiedAdditionalAuthenticatedDataCrc32c: false },
    /did not check/,
  ],
  ["Encrypt by another key", "encrypt", { name: "projects/x/cryptoKeyVersions/1" }, /took another key/],
  ["Decrypt whose plaintext was damaged", "decrypt", { plaintext: "AAAA" }, /do not match their checksum/],
  ["Decrypt without plaintext", "decrypt", { plaintext: undefined }, /do not match their checksum/],
])("the answer of an %s is not believed", async (_, operation, change, problem) => {
  const rootKey = await open(at(name));
  const wrapped = await rootKey.wrap(newKey(), context);
  kms.tamper((asked, answer) => (asked === operation ? { ...answer, ...change } : answer));
  const work = operation === "encrypt" ? rootKey.wrap(newKey(), context) : rootKey.unwrap(wrapped, context);
  const found = await outcome(work);
  expect(found).toMatch(/^outage: Google Cloud KMS/);
  expect(found).toMatch(problem);
});

test("what is sent carries its checksums, so that KMS finds what was damaged on the way", async () => {
  const rootKey = await open(at(name));
  await rootKey.unwrap(await rootKey.wrap(newKey(), context), context);
  const sent = kms.asked.slice(-2).map(({ body }) => Object.keys(JSON.parse(body)).sort());
  const aad = ["additionalAuthenticatedData", "additionalAuthenticatedDataCrc32c"];
  expect(sent).toStrictEqual([
    [...aad, "plaintext", "plaintextCrc32c"],
    [...aad, "ciphertext", "ciphertextCrc32c"],
  ]);
});

test("the checksum is CRC-32C", () => {
  // RFC 3720, B.4, and the check value of the catalogue of CRCs.
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
});
