import { randomBytes } from "node:crypto";
import type { KMSClient } from "@aws-sdk/client-kms";
import { RootKeyRefused, RootKeyUnavailable } from "../errors.ts";
import { SealBroken } from "../seal.ts";
import { optionalPackage } from "./optional-package.ts";
import type { AwsPlace } from "./place.ts";
import { insist, type KeyService, type Patience } from "./remote.ts";

/** A key of AWS KMS. Credentials are found as by every program with the SDK: environment, profile, role, metadata. */
export async function awsKms({ key, region, endpoint }: AwsPlace, patience: Patience): Promise<KeyService> {
  const sdk = await optionalPackage("@aws-sdk/client-kms", () => import("@aws-sdk/client-kms"));
  const { DecryptCommand, EncryptCommand, KMSClient } = sdk;
  const client: Pick<KMSClient, "send"> = new KMSClient({
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint: endpoint.origin }),
    // Tries are counted in one place, for all services.
    maxAttempts: 1,
  });

  async function encrypt(keyId: string, plain: Buffer, context: string, signal: AbortSignal) {
    const command = new EncryptCommand({ KeyId: keyId, Plaintext: plain, EncryptionContext: named(context) });
    const { KeyId, CiphertextBlob } = await client.send(command, { abortSignal: signal }).catch(failed(key));
    if (KeyId === undefined || CiphertextBlob === undefined) throw unexpected("did not answer as it should");
    return { arn: KeyId, wrapped: Buffer.from(CiphertextBlob) };
  }

  /** Of an alias, KMS says which key it leads to. An alias that is moved later moves nothing that is running. */
  async function findArn(): Promise<string> {
    if (/:key\//.test(key)) return key;
    const { arn } = await insist(patience, (signal) => encrypt(key, randomBytes(32), '["name"]', signal));
    return arn;
  }

  const arn = await findArn();
  const name = nameOf(arn);

  function requireSame(answered: string | undefined): void {
    if (answered === undefined || nameOf(answered) !== name) throw unexpected("answered for another key");
  }

  return {
    id: `awskms:${name}`,

    async wrap(plain, context, signal) {
      const answer = await encrypt(arn, plain, context, signal);
      requireSame(answer.arn);
      return answer.wrapped;
    },

    async unwrap(wrapped, context, signal) {
      const command = new DecryptCommand({
        KeyId: arn,
        CiphertextBlob: wrapped,
        EncryptionContext: named(context),
      });
      const { KeyId, Plaintext } = await client
        .send(command, { abortSignal: signal })
        .catch(failed(key, isBroken));
      requireSame(KeyId);
      if (Plaintext === undefined) throw unexpected("did not answer as it should");
      const plain = Buffer.from(Plaintext);
      Plaintext.fill(0);
      return plain;
    },
  };
}

/** It stands in CloudTrail, where it says for which organisation a key was opened. */
function named(context: string): Record<string, string> {
  return { patchbay: context };
}

/** Replicas of a multi-Region key are one key, by whichever of them it is asked for. */
function nameOf(arn: string): string {
  return arn.replace(/^(arn:[^:]+:kms:)[^:]+(:\d+:key\/mrk-)/, "$1*$2");
}

function unexpected(problem: string): RootKeyUnavailable {
  return new RootKeyUnavailable(new Error(`AWS KMS ${problem}`));
}

function isBroken(name: string): boolean {
  return name === "InvalidCiphertextException" || name === "IncorrectKeyException";
}

const allow =
  "allow kms:Encrypt and kms:Decrypt on it to the identity of this service, in its policy or the key's";
const credentials =
  "check the credentials that the AWS SDK finds (AWS_ACCESS_KEY_ID, a profile, a web identity or the role of the machine)";

/** What to do about a refusal, by the error's name. */
const advice: Readonly<Record<string, string>> = {
  AccessDeniedException: allow,
  KMSInvalidStateException: "cancel its deletion, or import its material again",
  DisabledException: "enable it again",
  NotFoundException: "check its ARN or alias, account and region",
  InvalidArnException: "check its ARN",
  InvalidKeyUsageException: "give a symmetric key for encryption",
  UnsupportedOperationException: "give a symmetric key for encryption",
  CredentialsProviderError: credentials,
  TokenProviderError: credentials,
  UnrecognizedClientException: credentials,
  InvalidSignatureException: `${credentials} and the clock of this machine`,
  IncompleteSignatureException: credentials,
  MissingAuthenticationTokenException: credentials,
  ExpiredTokenException: credentials,
  OptInRequired: "enable AWS KMS for the account and region",
};

/** Turns an error of the SDK into one of ours, of which only the code and the request's id are kept. */
function failed(key: string, isBroken = (_name: string) => false) {
  return (error: unknown): never => {
    const { name = "", message = "", code: system, $metadata = {} } = error as Partial<AwsError>;
    if (isBroken(name)) throw new SealBroken();
    if (/^Region (?:is missing|not accepted)/.test(message)) {
      throw new RootKeyRefused(
        `AWS KMS needs to know the region of ${key}: add ?region=REGION to the URL, or set AWS_REGION`,
      );
    }
    const { httpStatusCode: status = 0, requestId = "" } = $metadata;
    const what = `${code(typeof system === "string" ? system : name)}${requestId === "" ? "" : ` (request ${code(requestId)})`}`;
    const known = advice[name];
    if (known !== undefined) throw new RootKeyRefused(`AWS KMS refuses ${key} with ${what}: ${known}`);
    if (status >= 400 && status < 500 && !/throttl|limit|timeout/i.test(name) && status !== 429) {
      throw new RootKeyRefused(
        `AWS KMS refuses ${key} with ${what}: look this code up in the documentation of AWS KMS`,
      );
    }
    throw unexpected(`failed with ${what}`);
  };
}

interface AwsError {
  readonly name: string;
  readonly message: string;
  /** That of the system, if no answer came. */
  readonly code: unknown;
  readonly $metadata: { readonly httpStatusCode?: number; readonly requestId?: string };
}

/** What a service sent us is shown only as far as it looks like a code. */
function code(text: string): string {
  return text.replace(/[^\w.-]/g, "").slice(0, 64);
}
