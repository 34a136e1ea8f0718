import { randomBytes } from "node:crypto";
import { DecryptCommand, KMSClient } from "@aws-sdk/client-kms";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { checkRootKey } from "#src/crypto/check-root-key.ts";
import { freePort } from "../../support/ports.ts";
import {
  awsAccount,
  awsCredentials,
  awsError,
  awsRegion,
  startFakeAwsKms,
  type FakeAwsKms,
} from "./fake-aws-kms.ts";
import { context, newKey, open, outcome } from "./support.ts";

let kms: FakeAwsKms;
let arn: string;
const at = (key: string) =>
  `awskms:///${key}?endpoint=${kms.url}${key.startsWith("arn:") ? "" : `&region=${awsRegion}`}`;

beforeAll(async () => {
  kms = await startFakeAwsKms();
  arn = kms.newKey("1234abcd-12ab-34cd-56ef-1234567890ab");
  kms.alias("alias/patchbay", arn);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await kms[Symbol.asyncDispose]();
});

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", awsCredentials.accessKeyId);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", awsCredentials.secretAccessKey);
  vi.stubEnv("AWS_CONFIG_FILE", "/dev/null");
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  kms.failWith(() => undefined);
  kms.tamper((_, answer) => answer);
});

test("what a key of AWS KMS wraps, it unwraps for the same record and no other", async () => {
  const rootKey = await open(at(arn));
  expect(rootKey.id).toBe(`awskms:${arn}`);
  await checkRootKey(rootKey);
  const key = newKey();
  const wrapped = await rootKey.wrap(key, context);
  expect(wrapped.includes(key)).toBe(false);
  expect(await rootKey.unwrap(wrapped, context)).toStrictEqual(key);
  expect(await outcome(rootKey.unwrap(wrapped, ["kek", "org_2", "1"]))).toBe("broken");
  expect(await outcome(rootKey.unwrap(wrapped, ["kek", "org_1", "2"]))).toBe("broken");
  expect(await outcome(rootKey.unwrap(randomBytes(61), context))).toBe("broken");
  const other = await open(at(kms.newKey("other")));
  expect(await outcome(other.unwrap(wrapped, context))).toBe("broken");
});

test("the record is named in the encryption context, where CloudTrail shows it and other clients can give it", async () => {
  const key = newKey();
  const CiphertextBlob = await (await open(at(arn))).wrap(key, context);
  const client = new KMSClient({ endpoint: kms.url, region: awsRegion, credentials: awsCredentials });
  const EncryptionContext = { patchbay: '["kek","org_1","1"]' };
  const { Plaintext } = await client.send(
    new DecryptCommand({ CiphertextBlob, KeyId: arn, EncryptionContext }),
  );
  expect(Buffer.from(Plaintext!)).toStrictEqual(key);
});

test("a key that rotates in AWS KMS unwraps what its earlier material wrapped", async () => {
  const rootKey = await open(at(arn));
  const key = newKey();
  const wrapped = await rootKey.wrap(key, context);
  kms.keyOf(arn).rotate();
  expect(await rootKey.unwrap(wrapped, context)).toStrictEqual(key);
  await checkRootKey(rootKey);
});

describe("an alias", () => {
  test("is named by the key that it leads to, so that its rows are found under the key's ARN as well", async () => {
    const byAlias = await open(at("alias/patchbay"));
    const byArn = await open(at(arn));
    expect(byAlias.id).toBe(byArn.id);
    const key = newKey();
    expect(await byArn.unwrap(await byAlias.wrap(key, context), context)).toStrictEqual(key);
    expect((await open(at(`arn:aws:kms:${awsRegion}:${awsAccount}:alias/patchbay`))).id).toBe(byArn.id);
  });

  test("that is moved to another key moves nothing that is running, and the next start is another root key", async () => {
    const first = kms.newKey("first");
    kms.alias("alias/moved", first);
    const before = await open(at("alias/moved"));
    const key = newKey();
    const wrapped = await before.wrap(key, context);
    kms.alias("alias/moved", kms.newKey("second"));
    expect(await before.unwrap(wrapped, context)).toStrictEqual(key);
    expect((await open(at("alias/moved"))).id).not.toBe(before.id);
  });

  test("that leads nowhere stops the start", async () => {
    expect(await outcome(open(at("alias/none")))).toMatch(
      /^refused: .*NotFoundException .*check its ARN or alias/,
    );
  });
});

test("replicas of a multi-Region key are one root key", async () => {
  const here = await open(at(kms.newKey("mrk-1", "eu-central-1")));
  const there = await open(at(kms.newKey("mrk-1", "us-east-1")));
  expect(there.id).toBe(here.id);
  const key = newKey();
  expect(await there.unwrap(await here.wrap(key, context), context)).toStrictEqual(key);
});

test("an outage of a moment is not noticed, and one that lasts is one of AWS KMS", async () => {
  const rootKey = await open(at(arn));
  const wrapped = await rootKey.wrap(newKey(), context);
  for (const answer of [
    awsError("ThrottlingException", "Rate exceeded"),
    awsError("KMSInternalException", "", 500),
    awsError("KeyUnavailableException", "", 500),
    { status: 502, body: "<html>" },
  ]) {
    kms.failWith((_, tries) => (tries < 3 ? answer : undefined));
    expect(await outcome(rootKey.unwrap(wrapped, context))).toBe("ok");
  }
  const asked = kms.asked.length;
  kms.failWith(() => awsError("DependencyTimeoutException", "", 503));
  expect(await outcome(rootKey.unwrap(wrapped, context))).toMatch(
    /^outage: AWS KMS failed with DependencyTimeout/,
  );
  expect(kms.asked.length - asked).toBe(3);
});

test.each([
  ["AccessDeniedException", /allow kms:Encrypt and kms:Decrypt/],
  ["DisabledException", /enable it again/],
  ["KMSInvalidStateException", /cancel its deletion/],
  ["InvalidKeyUsageException", /symmetric key/],
  ["UnrecognizedClientException", /check the credentials/],
  ["ExpiredTokenException", /check the credentials/],
  ["SomethingNewException", /look this code up/],
])("%s is a refusal that says what to change, and is not tried again", async (type, advice) => {
  const rootKey = await open(at(arn));
  const wrapped = await rootKey.wrap(newKey(), context);
  const asked = kms.asked.length;
  kms.failWith(() => awsError(type, "the canonical string was x-amz-security-token:canary"));
  const found = await outcome(rootKey.unwrap(wrapped, context));
  expect(found).toMatch(
    new RegExp(`^refused: AWS KMS refuses arn.* with ${type} \\(request 7b1e2c9a-[0-9a-f-]+\\): `),
  );
  expect(found).toMatch(advice);
  expect(kms.asked.length - asked).toBe(1);
});

test("a wrong secret key is refused by its signature, and is in no error", async () => {
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "canary-wrong");
  const rootKey = await open(at(arn));
  expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
    /refused: .*InvalidSignatureException.*clock/,
  );
});

test("no credentials at all is something to change", async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "");
  const rootKey = await open(at(arn));
  expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
    /refused: .*CredentialsProviderError: check the credentials/,
  );
});

test("no region is something to change", async () => {
  vi.stubEnv("AWS_REGION", undefined);
  const opening = open(`awskms:///alias/patchbay?endpoint=${kms.url}`);
  expect(await outcome(opening)).toMatch(/refused: .*add \?region=REGION/);
});

test("a server that is not there is an outage, named by what the system says", async () => {
  const rootKey = await open(`awskms:///${arn}?endpoint=http://127.0.0.1:${await freePort()}`);
  expect(await outcome(rootKey.wrap(newKey(), context))).toBe("outage: AWS KMS failed with ECONNREFUSED");
});

test("an answer for another key is not believed", async () => {
  const rootKey = await open(at(arn));
  const wrapped = await rootKey.wrap(newKey(), context);
  const another = kms.newKey("another");
  kms.tamper((_, answer) => ({ ...answer, KeyId: another }));
  expect(await outcome(rootKey.wrap(newKey(), context))).toBe("outage: AWS KMS answered for another key");
  expect(await outcome(rootKey.unwrap(wrapped, context))).toBe("outage: AWS KMS answered for another key");
  kms.tamper((_, { Plaintext: _gone, CiphertextBlob: _also, ...answer }) => answer);
  expect(await outcome(rootKey.wrap(newKey(), context))).toBe("outage: AWS KMS did not answer as it should");
  expect(await outcome(rootKey.unwrap(wrapped, context))).toBe("outage: AWS KMS did not answer as it should");
});
