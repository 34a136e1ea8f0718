import type { KeyManagementServiceClient } from "@google-cloud/kms";
import { RootKeyRefused, RootKeyUnavailable } from "../errors.ts";
import { SealBroken } from "../seal.ts";
import { crc32c } from "./crc32c.ts";
import { optionalPackage } from "./optional-package.ts";
import type { GcpPlace } from "./place.ts";
import type { KeyService, Patience } from "./remote.ts";

/** A key of Google Cloud KMS. Credentials are the application's default ones, as for every program with its SDK. */
export async function gcpKms({ key, endpoint }: GcpPlace, patience: Patience): Promise<KeyService> {
  const sdk = await optionalPackage("@google-cloud/kms", () => import("@google-cloud/kms"));
  const options = {
    // Its REST form: sockets of HTTP/1.1 that are reused, and no second gRPC stack in the process.
    fallback: true,
    ...(endpoint !== undefined && {
      apiEndpoint: endpoint.hostname,
      port: Number(endpoint.port || (endpoint.protocol === "https:" ? 443 : 80)),
      protocol: endpoint.protocol.slice(0, -1),
    }),
  };
  // Tries are counted in one place, for all services.
  const once = { retry: { retryCodes: [] }, timeout: patience.tryMs };
  let opening: Promise<KeyManagementServiceClient> | undefined;

  /**
   * A client that found no credentials would never look again, and its calls would then end the process: they leave a
   * rejection that nothing handles. So none is made before `initialize` found some.
   */
  async function openClient(): Promise<KeyManagementServiceClient> {
    const client = new sdk.KeyManagementServiceClient(options);
    await client.initialize();
    return client;
  }

  /** To look for credentials may take longer than a try. The next one then finds what the first looked for. */
  async function ask<T>(call: (client: KeyManagementServiceClient) => Promise<T>): Promise<T> {
    opening ??= openClient().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return call(await opening);
  }

  return {
    id: `gcpkms:${key}`,

    async wrap(plain, context) {
      const additionalAuthenticatedData = Buffer.from(context);
      const request = {
        name: key,
        plaintext: plain,
        plaintextCrc32c: checksum(plain),
        additionalAuthenticatedData,
        additionalAuthenticatedDataCrc32c: checksum(additionalAuthenticatedData),
      };
      const [answer] = await ask((kms) => kms.encrypt(request, once)).catch(failed(key));
      if (!answer.verifiedPlaintextCrc32c || !answer.verifiedAdditionalAuthenticatedDataCrc32c) {
        throw damaged("did not check what it was sent");
      }
      // The version that it took is the primary one, which may be another at any time.
      if (!answer.name?.startsWith(`${key}/cryptoKeyVersions/`)) throw damaged("took another key");
      return checked(answer.ciphertext, answer.ciphertextCrc32c);
    },

    async unwrap(wrapped, context) {
      const additionalAuthenticatedData = Buffer.from(context);
      const request = {
        name: key,
        ciphertext: wrapped,
        ciphertextCrc32c: checksum(wrapped),
        additionalAuthenticatedData,
        additionalAuthenticatedDataCrc32c: checksum(additionalAuthenticatedData),
      };
      const [answer] = await ask((kms) => kms.decrypt(request, once)).catch(failed(key, true));
      const plain = checked(answer.plaintext, answer.plaintextCrc32c);
      if (answer.plaintext instanceof Uint8Array) answer.plaintext.fill(0);
      return plain;
    },
  };
}

function checksum(bytes: Buffer) {
  return { value: crc32c(bytes) };
}

/** The bytes of an answer, if they are those that were sent. */
function checked(
  given: Uint8Array | string | null | undefined,
  sum: { readonly value?: unknown } | null | undefined,
): Buffer {
  const bytes = typeof given === "string" ? Buffer.from(given, "base64") : Buffer.from(given ?? []);
  if (bytes.length === 0 || String(sum?.value) !== String(crc32c(bytes))) {
    throw damaged("answered with bytes that do not match their checksum");
  }
  return bytes;
}

function damaged(problem: string): RootKeyUnavailable {
  return new RootKeyUnavailable(new Error(`Google Cloud KMS ${problem}`));
}

/** What to do about a refusal, by the status of gRPC. */
const advice: Readonly<Record<number, string>> = {
  3: "give a key whose purpose is ENCRYPT_DECRYPT",
  5: "check project, location, ring and key",
  7: "grant roles/cloudkms.cryptoKeyEncrypterDecrypter on it to the identity of this service, and enable the Cloud KMS API",
  9: "its version is disabled or destroyed, or it has no primary one: enable or restore it",
  12: "give a key whose purpose is ENCRYPT_DECRYPT",
  16: "check the credentials that Google's SDK finds (GOOGLE_APPLICATION_CREDENTIALS, or the identity of the machine)",
};

const statusNames: Readonly<Record<number, string>> = {
  1: "CANCELLED",
  3: "INVALID_ARGUMENT",
  4: "DEADLINE_EXCEEDED",
  5: "NOT_FOUND",
  7: "PERMISSION_DENIED",
  8: "RESOURCE_EXHAUSTED",
  9: "FAILED_PRECONDITION",
  12: "UNIMPLEMENTED",
  13: "INTERNAL",
  14: "UNAVAILABLE",
  16: "UNAUTHENTICATED",
};

interface GcpError {
  readonly code: unknown;
  readonly message: string;
}

/** Turns an error of the SDK into one of ours, of which only the status is kept. */
function failed(key: string, isDecrypt = false) {
  return (error: unknown): never => {
    const { code, message = "" } = error as Partial<GcpError>;
    if (typeof code !== "number") {
      if (!/credentials|refresh token|ENOENT/i.test(message)) throw damaged("failed before it was asked");
      throw new RootKeyRefused(`Google Cloud KMS was not asked for ${key}: ${advice[16]}`);
    }
    // What was damaged on the way is told from what another key made: only the former is worth another try.
    if (code === 3 && /crc32c|checksum/i.test(message))
      throw damaged("was sent bytes that were damaged on the way");
    if (code === 3 && isDecrypt) throw new SealBroken();
    const name = statusNames[code] ?? `status ${code}`;
    const known = advice[code];
    if (known !== undefined)
      throw new RootKeyRefused(`Google Cloud KMS refuses ${key} with ${name}: ${known}`);
    throw damaged(`failed with ${name}`);
  };
}
