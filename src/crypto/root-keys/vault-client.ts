import { AddressDenied, InvalidOutboundRequest, UpstreamUnreachable } from "#src/outbound/errors.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { RootKeyRefused, RootKeyUnavailable } from "../errors.ts";
import type { VaultPlace } from "./vault-place.ts";

/** Asks Vault over HTTP. */
export interface VaultClient {
  /** Vault's answer, unless it is an outage. */
  post(path: string, request: VaultRequest): Promise<VaultAnswer>;
}

/** In the place of a token where an agent adds it, or none is needed. */
export const noToken = "";

interface VaultRequest {
  readonly token?: string;
  readonly body: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** What Vault answered: the parts of its JSON that are read, and nothing else of it. */
export interface VaultAnswer {
  readonly status: number;
  readonly data: Readonly<Record<string, unknown>>;
  readonly auth: Readonly<Record<string, unknown>>;
  /** For comparison with what is known only: others of Vault's texts repeat what was sent. */
  readonly errors: string;
}

const maxAnswerBytes = 64 * 1024;
/** Logins and renewals serve all calls, so that no one call ends them. */
const timeoutMs = 10_000;

/** Through our own client: no redirect is followed, so that the token goes to this server and to no other. */
export function createVaultClient({ address, namespace }: VaultPlace, outbound: Outbound): VaultClient {
  return {
    async post(path, { token = noToken, body, signal }) {
      const headers = {
        "content-type": "application/json",
        // Vault's protection from forged requests; the agent asks for it.
        "x-vault-request": "true",
        ...(token !== noToken && { "x-vault-token": token }),
        ...(namespace !== undefined && { "x-vault-namespace": namespace }),
      };
      const reply = await outbound
        .send({
          share: "root-key",
          baseUrl: address,
          method: "POST",
          path: `/v1/${path}`,
          headers,
          body: Buffer.from(JSON.stringify(body)),
          ...(signal !== undefined && { signal }),
          timeoutMs,
          maxAnswerBytes,
        })
        .catch(unreachable);
      const answer = read(reply.status, reply.body);
      if (isOutage(answer)) throw new RootKeyUnavailable(new Error(outageText(answer.status)));
      return answer;
    },
  };
}

/** Our own refusals come from the URL or the token, and stay. Of the rest, another try may go well. */
function unreachable(error: unknown): never {
  if (!(error instanceof ServiceError)) throw error;
  if (error instanceof InvalidOutboundRequest)
    throw new RootKeyRefused("the token for Vault is no token: check it");
  const isWrongServer =
    error instanceof UpstreamUnreachable && error.metadata.stage === "TLS" && !error.isTransient;
  if (isWrongServer || error instanceof AddressDenied) throw new RootKeyRefused(`Vault: ${error.message}`);
  throw new RootKeyUnavailable(new Error(`Vault: ${error.message}`));
}

function read(status: number, body: Buffer): VaultAnswer {
  const json = parsed(body);
  const errors = Array.isArray(json["errors"])
    ? json["errors"].filter((text) => typeof text === "string")
    : [];
  return { status, data: memberOf(json, "data"), auth: memberOf(json, "auth"), errors: errors.join("\n") };
}

function parsed(body: Buffer): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(body.toString());
    return isObject(json) ? json : {};
  } catch {
    return {};
  }
}

function memberOf(json: Record<string, unknown>, name: string): Record<string, unknown> {
  const member = json[name];
  return isObject(member) ? member : {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** 412: a standby has not yet heard of what its leader did. 472, 473: standbys of Enterprise. */
function isOutage({ status }: VaultAnswer): boolean {
  return status >= 500 || [412, 429, 472, 473].includes(status);
}

function outageText(status: number): string {
  if (status === 503) return "Vault is sealed or starting (status 503): unseal it";
  if (status === 429) return "Vault takes no more requests at the moment (status 429)";
  return `Vault failed with status ${status}: look into its log`;
}
