import { generateKeyPairSync, verify, type KeyObject } from "node:crypto";
import { startUpstream, type Answer, type Asked, type Upstream } from "../../support/upstream.ts";
import { fakeKey, type FakeKey } from "./fake-key.ts";

const email = "patchbay@project.iam.gserviceaccount.example";

/** Google Cloud KMS and its token endpoint, played: JWTs and checksums are checked. */
export interface FakeGcpKms extends AsyncDisposable {
  readonly url: string;
  readonly asked: Upstream["asked"];
  /** What GOOGLE_APPLICATION_CREDENTIALS names: the key file of a service account. */
  readonly keyFile: string;
  newKey(name: string): FakeKey;
  failWith(answer: (operation: string, tries: number) => Answer | undefined): void;
  tamper(change: (operation: string, answer: Record<string, unknown>) => Record<string, unknown>): void;
}

export async function startFakeGcpKms(): Promise<FakeGcpKms> {
  const upstream = await startUpstream();
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const keys = new Map<string, FakeKey>();
  const tokens = new Set<string>();
  const tries = new Map<string, number>();
  let failure: Parameters<FakeGcpKms["failWith"]>[0] = () => undefined;
  let change: Parameters<FakeGcpKms["tamper"]>[0] = (_, answer) => answer;

  function handle(operation: string, name: string, body: Record<string, string>): Answer {
    const key = keys.get(name);
    if (key === undefined) return gcpError(404, "NOT_FOUND", `CryptoKey ${name} not found.`);
    for (const field of ["plaintext", "ciphertext", "additionalAuthenticatedData"]) {
      const bytes = body[field];
      const sum = body[`${field}Crc32c`];
      if (bytes !== undefined && sum !== undefined && sum !== crcOf(Buffer.from(bytes, "base64"))) {
        return gcpError(
          400,
          "INVALID_ARGUMENT",
          `The checksum in field ${field}_crc32c did not match the data in field ${field}.`,
        );
      }
    }
    const aad = body["additionalAuthenticatedData"] ?? "";
    if (operation === "encrypt") {
      const { version, bytes } = key.encrypt(Buffer.from(body["plaintext"]!, "base64"), aad);
      const ciphertext = Buffer.concat([Buffer.from([version]), bytes]);
      return json(
        change(operation, {
          name: `${name}/cryptoKeyVersions/${version}`,
          ciphertext: ciphertext.toString("base64"),
          ciphertextCrc32c: crcOf(ciphertext),
          verifiedPlaintextCrc32c: body["plaintextCrc32c"] !== undefined,
          verifiedAdditionalAuthenticatedDataCrc32c: body["additionalAuthenticatedDataCrc32c"] !== undefined,
          protectionLevel: 1,
        }),
      );
    }
    const ciphertext = Buffer.from(body["ciphertext"]!, "base64");
    const plain = key.decrypt(ciphertext[0] ?? 0, ciphertext.subarray(1), aad);
    if (plain === undefined) {
      return gcpError(
        400,
        "INVALID_ARGUMENT",
        `Decryption failed: verify that 'name' refers to the correct CryptoKey.`,
      );
    }
    return json(
      change(operation, {
        plaintext: plain.toString("base64"),
        plaintextCrc32c: crcOf(plain),
        usedPrimary: true,
      }),
    );
  }

  upstream.answer((asked) => {
    if (asked.url === "/token") return grant(asked, `${upstream.url}/token`, publicKey, tokens);
    const bearer = /^Bearer (\S+)$/.exec(String(asked.headers["authorization"]))?.[1] ?? "";
    if (!tokens.has(bearer) && !isOwnJwt(bearer, publicKey)) {
      return gcpError(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
    }
    const [, name, operation] = /^\/v1\/(projects\/[^:?]+):(encrypt|decrypt)\?/.exec(asked.url) ?? [];
    if (name === undefined || operation === undefined) return gcpError(404, "NOT_FOUND", "no such path");
    const count = (tries.get(operation) ?? 0) + 1;
    tries.set(operation, count);
    return failure(operation, count) ?? handle(operation, name, JSON.parse(asked.body));
  });

  return {
    url: upstream.url,
    asked: upstream.asked,
    keyFile: JSON.stringify({
      type: "service_account",
      project_id: "project",
      private_key_id: "1",
      private_key: privateKey.export({ type: "pkcs8", format: "pem" }),
      client_email: email,
      client_id: "1",
      token_uri: `${upstream.url}/token`,
    }),
    newKey(name) {
      const key = fakeKey();
      keys.set(name, key);
      return key;
    },
    failWith(next) {
      tries.clear();
      failure = next;
    },
    tamper: (next) => void (change = next),
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

/** An error as Google's APIs send it. */
export function gcpError(code: number, status: string, message: string): Answer {
  const headers = { "content-type": "application/json" };
  return { status: code, headers, body: JSON.stringify({ error: { code, status, message } }) };
}

function json(answer: Record<string, unknown>): Answer {
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(answer) };
}

/** RFC 7523: a JWT that the account signed for this endpoint, for an access token. */
function grant({ body }: Asked, audience: string, publicKey: KeyObject, tokens: Set<string>): Answer {
  const form = new URLSearchParams(body);
  const claims = claimsOf(form.get("assertion") ?? "", publicKey);
  const isGood =
    form.get("grant_type") === "urn:ietf:params:oauth:grant-type:jwt-bearer" &&
    claims?.["aud"] === audience &&
    /auth\/cloud-platform|auth\/cloudkms/.test(String(claims["scope"]));
  if (!isGood) return { status: 400, body: JSON.stringify({ error: "invalid_grant" }) };
  const token = `ya29.canary-${tokens.size}`;
  tokens.add(token);
  return json({ access_token: token, expires_in: 3600, token_type: "Bearer" });
}

/** A JWT that the account signed for the API itself, as it may be without an access token. */
function isOwnJwt(jwt: string, publicKey: KeyObject): boolean {
  const claims = claimsOf(jwt, publicKey);
  if (claims === undefined) return false;
  return claims["aud"] === "https://cloudkms.googleapis.com/" || /auth\/cloud/.test(String(claims["scope"]));
}

function claimsOf(jwt: string, publicKey: KeyObject): Record<string, unknown> | undefined {
  const [header = "", claims = "", signature = ""] = jwt.split(".");
  const data = Buffer.from(`${header}.${claims}`);
  if (!verify("RSA-SHA256", data, publicKey, Buffer.from(signature, "base64url"))) return undefined;
  const { alg } = JSON.parse(Buffer.from(header, "base64url").toString());
  const said = JSON.parse(Buffer.from(claims, "base64url").toString());
  const now = Date.now() / 1000;
  return alg === "RS256" &&
    said.iss === email &&
    said.iat <= now + 60 &&
    said.exp > now &&
    said.exp - said.iat <= 3600
    ? said
    : undefined;
}

/** CRC-32C as its definition says, a bit at a time. */
function crcOf(bytes: Buffer): string {
  let rest = 0xffffffffn;
  for (const byte of bytes) {
    rest ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) rest = (rest & 1n) === 1n ? (rest >> 1n) ^ 0x82f63b78n : rest >> 1n;
  }
  return String(rest ^ 0xffffffffn);
}
