import { randomUUID } from "node:crypto";
import { startUpstream, type Answer, type Asked, type Upstream } from "../../support/upstream.ts";
import { fakeKey, type FakeKey } from "./fake-key.ts";

/** Of a token: how long it lasts, and whether it is renewed. */
export interface FakeLease {
  readonly seconds: number;
  readonly renewable: boolean;
  /** How long it lasts when it was renewed, if that is another time; one that was made before starts with a renewal. */
  readonly renewedSeconds?: number;
}

/** Vault with its transit engine, played. */
export interface FakeVault extends AsyncDisposable {
  readonly url: string;
  readonly asked: Upstream["asked"];
  newKey(path: string): FakeKey;
  /** Below this version, nothing is decrypted. */
  minDecryptionVersion: number;
  /** A version so old that it knows no associated data ignores it. */
  knowsAssociatedData: boolean;
  /** As an agent does that adds its own token to requests without one. */
  addsToken: boolean;
  /** Makes a token of this name. */
  newToken(name: string, lease?: FakeLease): string;
  revoke(token: string): void;
  /** What a login answers with from now on, for the body that it takes. */
  letIn(path: string, body: Record<string, string>, lease: FakeLease): void;
  failWith(answer: (path: string, tries: number) => Answer | Promise<Answer> | undefined): void;
  /** The paths that were asked, without those of the engine. */
  authPaths(): string[];
}

/** Everything is in this namespace, if it is given. */
export async function startFakeVault(namespace?: string): Promise<FakeVault> {
  const upstream = await startUpstream();
  const keys = new Map<string, FakeKey>();
  const tokens = new Map<string, FakeLease | undefined>();
  const logins = new Map<string, { body: string; lease: FakeLease }>();
  const started = new Set<string>();
  const tries = new Map<string, number>();
  let failure: Parameters<FakeVault["failWith"]>[0] = () => undefined;

  function authOf(token: string, lease: FakeLease, seconds = lease.seconds): Answer {
    return json({ auth: { client_token: token, lease_duration: seconds, renewable: lease.renewable } });
  }

  function logIn(path: string, body: string): Answer | undefined {
    const known = logins.get(path);
    if (known === undefined) return undefined;
    if (known.body !== body) return vaultError(400, "invalid role or secret ID");
    const token = `hvs.canary-${randomUUID()}`;
    tokens.set(token, known.lease);
    started.add(token);
    return authOf(token, known.lease);
  }

  function transit(path: string, body: Record<string, string>): Answer {
    const [, mount, operation, name] = /^(.+)\/(encrypt|decrypt)\/([^/]+)$/.exec(path) ?? [];
    const key = keys.get(`${mount}/${name}`);
    if (key === undefined) {
      const isMounted = [...keys.keys()].some((known) => known.startsWith(`${mount}/`));
      return isMounted
        ? vaultError(400, "encryption key not found")
        : vaultError(404, "no handler for route");
    }
    const aad = vault.knowsAssociatedData ? (body["associated_data"] ?? "") : "";
    if (operation === "encrypt") {
      const { version, bytes } = key.encrypt(Buffer.from(body["plaintext"]!, "base64"), aad);
      return json({
        data: { ciphertext: `vault:v${version}:${bytes.toString("base64")}`, key_version: version },
      });
    }
    const [, version, text] = /^vault:v(\d+):([\w+/=]+)$/.exec(body["ciphertext"] ?? "") ?? [];
    if (version === undefined) return vaultError(400, "invalid ciphertext: no prefix");
    if (Number(version) < vault.minDecryptionVersion) {
      return vaultError(400, "ciphertext or signature version is disallowed by policy (too old)");
    }
    const plain = key.decrypt(Number(version), Buffer.from(text!, "base64"), aad);
    if (plain === undefined) return vaultError(400, "cipher: message authentication failed");
    return json({ data: { plaintext: plain.toString("base64") } });
  }

  function answer({ method, url, headers, body }: Asked): Answer | Promise<Answer> {
    const path = url.replace(/^\/v1\//, "");
    const count = (tries.get(path) ?? 0) + 1;
    tries.set(path, count);
    const failed = failure(path, count);
    if (failed !== undefined) return failed;
    if (headers["x-vault-namespace"] !== namespace) return vaultError(404, "no handler for route");
    const login = logIn(path, body);
    if (login !== undefined) return login;
    const token = String(headers["x-vault-token"]);
    const isAdded = vault.addsToken && headers["x-vault-token"] === undefined;
    if (!tokens.has(token) && !isAdded) return vaultError(403, "permission denied");
    if (path === "auth/token/renew-self") {
      const lease = tokens.get(token);
      if (lease?.renewable !== true) return vaultError(400, "lease is not renewable");
      const isFirst = !started.has(token);
      started.add(token);
      return authOf(token, lease, isFirst ? lease.seconds : lease.renewedSeconds);
    }
    return method === "POST" || method === "PUT" ? transit(path, JSON.parse(body)) : vaultError(405, "");
  }

  upstream.answer(answer);
  const vault: FakeVault = {
    url: upstream.url,
    asked: upstream.asked,
    minDecryptionVersion: 1,
    knowsAssociatedData: true,
    addsToken: false,
    newKey(path) {
      const key = fakeKey();
      keys.set(path, key);
      return key;
    },
    newToken(name, lease) {
      const token = `hvs.canary-${name}`;
      tokens.set(token, lease);
      return token;
    },
    revoke: (token) => void tokens.delete(token),
    letIn: (path, body, lease) => void logins.set(path, { body: JSON.stringify(body), lease }),
    failWith(next) {
      tries.clear();
      failure = next;
    },
    authPaths: () => upstream.asked.flatMap(({ url }) => (url.startsWith("/v1/auth/") ? [url.slice(9)] : [])),
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
  return vault;
}

/** An error as Vault sends it. */
export function vaultError(status: number, ...errors: string[]): Answer {
  return { status, headers: { "content-type": "application/json" }, body: JSON.stringify({ errors }) };
}

function json(answer: Record<string, unknown>): Answer {
  return {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ request_id: "1", ...answer }),
  };
}
