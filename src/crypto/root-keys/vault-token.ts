import { readFile } from "node:fs/promises";
import type { Log } from "#src/platform/log.ts";
import type { Secret } from "#src/platform/secret.ts";
import { RootKeyRefused } from "../errors.ts";
import { noToken, type VaultAnswer, type VaultClient } from "./vault-client.ts";
import type { VaultAuth } from "./vault-place.ts";

/** The token that Vault is asked with, which is renewed before it ends. */
export interface VaultToken {
  /** The token in use; logs in if there is none, once for all that ask meanwhile. */
  get(): Promise<string>;
  /** Vault refused this one: the next is a new one, unless this one replaced another a moment ago. */
  replace(refused: string): void;
}

/** A token, and for how long. */
interface Lease {
  readonly token: string;
  /** Undefined for one that does not end, or of which it is not known. */
  readonly seconds: number | undefined;
}

/** Renewed after this part of its time, so that some tries fit in before its end. */
const renewAt = 2 / 3;
const retryMs = 10_000;
/** Vault refuses a token that it has just given for what its policy lacks: another login would only add one more. */
const freshMs = 10_000;
const maxTimerMs = 2 ** 31 - 1;

/** Logs in when it is first asked, and renews what it got for as long as Vault lets it. */
export function createVaultToken(parts: {
  readonly auth: VaultAuth;
  readonly client: VaultClient;
  readonly given: Secret | undefined;
  readonly log: Log;
}): VaultToken {
  const { auth, client, log } = parts;
  let current: string | undefined;
  let loggingIn: Promise<string> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let replacedAtMs = -Infinity;

  async function logIn(): Promise<string> {
    const lease = await obtain(parts);
    current = lease.token;
    schedule(lease);
    return lease.token;
  }

  function schedule({ token, seconds }: Lease): void {
    clearTimeout(timer);
    if (seconds === undefined) return;
    renewLater(token, seconds, Math.min(seconds * renewAt * 1000, maxTimerMs));
  }

  function renewLater(token: string, seconds: number, ms: number): void {
    timer = setTimeout(() => void renewNow(token, seconds), ms).unref();
  }

  /** A token that cannot be renewed for as long as before is near the end that Vault set it: a new one is obtained. */
  async function renewNow(token: string, seconds: number): Promise<void> {
    try {
      const lease = await renew(client, token);
      if (current !== token) return;
      if (lease !== undefined && (lease.seconds ?? Infinity) > seconds / 2) return schedule(lease);
      if (auth.method !== "token") return forget(token);
      const next = await obtain(parts);
      if (current !== token) return;
      if (next.token !== token || next.seconds === undefined) {
        current = next.token;
        return schedule(next);
      }
      log.warn(
        { secondsLeft: next.seconds },
        "Vault does not renew the token for the root key: give a periodic one",
      );
      if (next.seconds > 1) schedule(next);
    } catch (error) {
      if (current !== token) return;
      log.warn({ err: error }, "the Vault token for the root key was not renewed; it is tried again");
      renewLater(token, seconds, Math.min(retryMs, (seconds * 1000) / 10));
    }
  }

  function replace(refused: string): void {
    const isLogin = auth.method === "approle" || auth.method === "kubernetes";
    if (isLogin && performance.now() - replacedAtMs < freshMs) return;
    replacedAtMs = performance.now();
    forget(refused);
  }

  function forget(refused: string): void {
    if (current !== refused) return;
    clearTimeout(timer);
    current = undefined;
  }

  return {
    replace,
    get: async () => current ?? (loggingIn ??= logIn().finally(() => (loggingIn = undefined))),
  };
}

type Source = Parameters<typeof createVaultToken>[0];

async function obtain({ auth, client, given, log }: Source): Promise<Lease> {
  switch (auth.method) {
    case "agent":
      return { token: noToken, seconds: undefined };
    case "token": {
      const token = auth.file === undefined ? given?.reveal().toString() : await readSecret(auth.file);
      if (token === undefined) {
        throw new RootKeyRefused(
          "there is no token for Vault: set VAULT_TOKEN, or add token_file or auth to the URL",
        );
      }
      const renewed = await renew(client, token);
      if (renewed === undefined) {
        log.warn(
          "the Vault token for the root key cannot be renewed and is used until it ends: give a periodic one",
        );
      }
      return renewed ?? { token, seconds: undefined };
    }
    case "approle": {
      const body = { role_id: auth.roleId, secret_id: await readSecret(auth.secretIdFile) };
      return loggedIn(auth, await client.post(`auth/${auth.mount}/login`, { body }));
    }
    case "kubernetes": {
      const body = { role: auth.role, jwt: await readSecret(auth.jwtFile) };
      return loggedIn(auth, await client.post(`auth/${auth.mount}/login`, { body }));
    }
  }
}

/** The token with its new time; undefined for one that is not renewed: it lasts for ever, or was made to end. */
async function renew(client: VaultClient, token: string): Promise<Lease | undefined> {
  const answer = await client.post("auth/token/renew-self", { token, body: {} });
  return answer.status === 200 ? leaseOf(answer) : undefined;
}

function loggedIn(auth: Extract<VaultAuth, { mount: string }>, answer: VaultAnswer): Lease {
  const lease = answer.status === 200 ? leaseOf(answer) : undefined;
  if (lease !== undefined) return lease;
  const what =
    auth.method === "approle" ? "role_id and what is in secret_id_file" : "role and the service account";
  throw new RootKeyRefused(
    `Vault refuses the login at auth/${auth.mount} with status ${answer.status}: check ${what}, and the mount`,
  );
}

function leaseOf({ auth }: VaultAnswer): Lease | undefined {
  const { client_token: token, lease_duration: seconds } = auth;
  if (typeof token !== "string" || token === "") return undefined;
  return { token, seconds: typeof seconds === "number" && seconds > 0 ? seconds : undefined };
}

/** Read each time: what writes the file may replace it. */
async function readSecret(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch(({ code }: NodeJS.ErrnoException) => {
    throw new RootKeyRefused(`the file ${file}, which Vault is logged in to with, cannot be read (${code})`);
  });
  if (text.trim() === "")
    throw new RootKeyRefused(`the file ${file}, which Vault is logged in to with, is empty`);
  return text.trim();
}
