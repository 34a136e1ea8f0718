import { sign } from "aws4";
import { startUpstream, type Answer, type Asked, type Upstream } from "../../support/upstream.ts";
import { fakeKey, type FakeKey } from "./fake-key.ts";

export const awsCredentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "canary-aws-secret-key" };
export const awsRegion = "eu-central-1";
export const awsAccount = "111122223333";

/** AWS KMS, played: it checks signatures, by an implementation that is not that of the SDK. */
export interface FakeAwsKms extends AsyncDisposable {
  readonly url: string;
  readonly asked: Upstream["asked"];
  /** Makes a key, and answers its ARN. */
  newKey(id: string, region?: string): string;
  keyOf(arn: string): FakeKey;
  alias(name: string, arn: string): void;
  /** Answers so, instead of what is asked, as long as the function answers something. */
  failWith(answer: (operation: string, tries: number) => Answer | undefined): void;
  /** Changes the answers that are sent. */
  tamper(change: (operation: string, answer: Record<string, unknown>) => Record<string, unknown>): void;
}

export async function startFakeAwsKms(): Promise<FakeAwsKms> {
  const upstream = await startUpstream();
  const host = new URL(upstream.url).host;
  const keys = new Map<string, FakeKey>();
  const aliases = new Map<string, string>();
  let failure: Parameters<FakeAwsKms["failWith"]>[0] = () => undefined;
  let change: Parameters<FakeAwsKms["tamper"]>[0] = (_, answer) => answer;
  const tries = new Map<string, number>();

  function arnOf(keyId: string): string {
    const alias = /alias\/.*/.exec(keyId)?.[0];
    return alias === undefined ? keyId : (aliases.get(alias) ?? keyId);
  }

  function handle(operation: string, body: Record<string, string>): Answer {
    const arn = arnOf(body["KeyId"] ?? "");
    const key = keys.get(arn);
    if (key === undefined) return awsError("NotFoundException", `Key '${arn}' does not exist`);
    const context = JSON.stringify(body["EncryptionContext"]);
    if (operation === "Encrypt") {
      const { version, bytes } = key.encrypt(Buffer.from(body["Plaintext"]!, "base64"), context);
      const blob = JSON.stringify([shared(arn), version, bytes.toString("base64")]);
      return json(
        change(operation, {
          KeyId: arn,
          CiphertextBlob: base64(blob),
          EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
        }),
      );
    }
    const [maker, version, bytes] = parsed(Buffer.from(body["CiphertextBlob"]!, "base64").toString());
    if (maker === undefined) return awsError("InvalidCiphertextException", "");
    if (maker !== shared(arn))
      return awsError(
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
      );
    const plain = key.decrypt(version, Buffer.from(bytes, "base64"), context);
    if (plain === undefined) return awsError("InvalidCiphertextException", "");
    return json(
      change(operation, {
        KeyId: arn,
        Plaintext: plain.toString("base64"),
        EncryptionAlgorithm: "SYMMETRIC_DEFAULT",
      }),
    );
  }

  upstream.answer((asked) => {
    const operation = /^TrentService\.(\w+)$/.exec(String(asked.headers["x-amz-target"]))?.[1] ?? "";
    const problem = signatureProblem(asked, host);
    if (problem !== undefined) return awsError("InvalidSignatureException", problem);
    const count = (tries.get(operation) ?? 0) + 1;
    tries.set(operation, count);
    return failure(operation, count) ?? handle(operation, JSON.parse(asked.body));
  });

  return {
    url: upstream.url,
    asked: upstream.asked,
    newKey(id, region = awsRegion) {
      const arn = `arn:aws:kms:${region}:${awsAccount}:key/${id}`;
      const replica = [...keys].find(([other]) => shared(other) === shared(arn));
      keys.set(arn, replica?.[1] ?? fakeKey());
      return arn;
    },
    keyOf: (arn) => keys.get(arn)!,
    alias: (name, arn) => void aliases.set(name, arn),
    failWith(next) {
      tries.clear();
      failure = next;
    },
    tamper: (next) => void (change = next),
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

/** An error as KMS sends it. */
export function awsError(type: string, message: string, status = 400): Answer {
  return {
    status,
    headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amzn-requestid": "7b1e2c9a-0000-4444-8888-fedcba987654",
    },
    body: JSON.stringify({ __type: type, message }),
  };
}

function json(answer: Record<string, unknown>): Answer {
  return { headers: { "content-type": "application/x-amz-json-1.1" }, body: JSON.stringify(answer) };
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function parsed(text: string): [string, number, string] | [undefined, number, string] {
  try {
    return JSON.parse(text);
  } catch {
    return [undefined, 0, ""];
  }
}

/** Replicas of a multi-Region key share it. */
function shared(arn: string): string {
  return arn.includes(":key/mrk-") ? arn.split(":key/")[1]! : arn;
}

const maxSkewMs = 5 * 60 * 1000;

/** Signs what came once more, and compares. */
function signatureProblem({ method, url, headers, body }: Asked, host: string): string | undefined {
  const given = String(headers["authorization"]);
  const [, keyId, day, region, names = ""] =
    /^AWS4-HMAC-SHA256 Credential=(\w+)\/(\d{8})\/([\w-]+)\/kms\/aws4_request, SignedHeaders=([\w;-]+), Signature=[0-9a-f]{64}$/.exec(
      given,
    ) ?? [];
  if (keyId !== awsCredentials.accessKeyId) return "The request signature has another form, or another key.";
  const signed = names.split(";");
  for (const name of ["host", "x-amz-date", "x-amz-target"]) {
    if (!signed.includes(name)) return `${name} is not signed`;
  }
  const date = String(headers["x-amz-date"]);
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (!date.startsWith(day!) || !(Math.abs(Date.now() - at) < maxSkewMs)) return "Signature expired";
  const again = sign(
    {
      service: "kms",
      region: region!,
      method,
      host,
      path: url,
      headers: Object.fromEntries(signed.map((name) => [name, String(headers[name])])),
      body,
    },
    awsCredentials,
  );
  return again.headers["Authorization"] === given ? undefined : "The request signature does not match";
}
