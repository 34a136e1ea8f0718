import type { ProbeCall, Recipe } from "#src/integrations/integration.ts";
import { readBaseUrl } from "#src/outbound/base-url.ts";
import type { OutboundCredential } from "#src/outbound/injection.ts";
import type { Outbound, OutboundReply, OutboundRequest } from "#src/outbound/outbound.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { ProbeFailure } from "./connection.ts";

/** Whether a service could be reached, and took its credential if it was given one. */
export type ProbeResult = {
  /** When the service's certificate ends; undefined without TLS, and without an answer. */
  readonly certificateExpiresAt?: Date | undefined;
} & (
  | { readonly ok: true; readonly latencyMs: number; readonly status: number }
  | (ProbeFailure & { readonly ok: false; readonly status: number | undefined })
);

/** What is asked for a sign of life. */
export interface Probed {
  readonly orgId: string;
  readonly baseUrl: string;
}

/** Asks services for a sign of life. Resolves also when there is none. */
export interface Probe {
  /**
   * A GET of the base URL without the credential, which is nothing to send around every minute to a service that may
   * have changed hands. Any answer but 5xx says that something is there and works.
   */
  reach(probed: Probed): Promise<ProbeResult>;
  /** The call that the integration declares, or else a GET of the base URL, with the credential. */
  signIn(
    probed: Probed & { readonly recipe: Recipe },
    credential: OutboundCredential,
    signal?: AbortSignal,
  ): Promise<ProbeResult>;
}

const probeTimeoutMs = 5_000;
/** Reading JSON holds up all calls. */
const mostJsonBytes = 256 * 1024;

export function createProbe(outbound: Pick<Outbound, "send">): Probe {
  async function ask(
    orgId: string,
    request: Omit<OutboundRequest, "share">,
    judge: (reply: OutboundReply) => ProbeFailure | undefined,
  ): Promise<ProbeResult> {
    try {
      // A probe must not wait behind calls that hang.
      const reply = await outbound.send({
        share: orgId,
        lane: "probes",
        timeoutMs: probeTimeoutMs,
        ...request,
      });
      const { status, certificateExpiresAt } = reply;
      const failure = judge(reply);
      if (failure !== undefined) return { ok: false, status, certificateExpiresAt, ...failure };
      return { ok: true, latencyMs: Math.round(reply.latencyMs), status, certificateExpiresAt };
    } catch (error) {
      if (error instanceof ServiceError) return failureOf(error);
      throw error;
    }
  }

  return {
    reach: ({ orgId, baseUrl }) => ask(orgId, { ...plain, baseUrl }, unreachable),

    async signIn({ orgId, baseUrl, recipe }, credential, signal) {
      const { probe } = recipe;
      const signals = { ...(signal && { signal }) };
      if (probe === undefined) {
        return ask(
          orgId,
          { ...plain, baseUrl, credential, ...signals },
          (reply) => refused(reply) ?? unreachable(reply),
        );
      }
      const target = probe.baseUrl ?? baseUrl;
      if (!mayProbe(target, baseUrl, recipe.allowedHosts)) {
        const message = "the integration's probe is of a host that it does not name among its allowedHosts";
        return { ok: false, status: undefined, stage: "DNS", message };
      }
      const bound = probe.baseUrl === undefined ? credential : { ...credential, boundTo: target };
      const result = await ask(
        orgId,
        { ...declared(probe), baseUrl: target, credential: bound, ...signals },
        (reply) => unexpected(probe, reply),
      );
      // Another host's certificate is not the service's.
      return isSameOrigin(target, baseUrl) ? result : { ...result, certificateExpiresAt: undefined };
    },
  };
}

/** A body of any length, or one that never ends, is a sign of life as well. */
const plain = { method: "GET", path: "", statusOnly: true } as const;

function declared({ method, path, headers = {}, body, expect }: ProbeCall) {
  const [before = "", query] = path.split("?", 2);
  return {
    method,
    path: before,
    query: [...new URLSearchParams(query)],
    headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
    ...(body !== undefined && { body: Buffer.from(body) }),
    statusOnly: expect.member === undefined,
  };
}

/** The credential goes to the host that it was stored for, and to those that its integration named then. */
function mayProbe(target: string, baseUrl: string, allowedHosts: readonly string[]): boolean {
  if (isSameOrigin(target, baseUrl)) return true;
  const { origin, host } = readBaseUrl(target);
  return origin.startsWith("https://") && allowedHosts.includes(host);
}

function isSameOrigin(target: string, baseUrl: string): boolean {
  return target === baseUrl || readBaseUrl(target).origin === readBaseUrl(baseUrl).origin;
}

function unreachable({ status }: OutboundReply): ProbeFailure | undefined {
  return status < 500 ? undefined : { stage: "status", message: `the service answered ${status}` };
}

function refused({ status }: OutboundReply): ProbeFailure | undefined {
  if (status !== 401 && status !== 403) return undefined;
  return { stage: "auth", message: `the service answered ${status}, so it does not take the credential` };
}

function unexpected({ expect, alsoValid = [] }: ProbeCall, reply: OutboundReply): ProbeFailure | undefined {
  const { status } = reply;
  if (status !== expect.status) {
    if (alsoValid.includes(status)) return undefined;
    return (
      refused(reply) ?? { stage: "status", message: `the service answered ${status}, not ${expect.status}` }
    );
  }
  if (expect.member === undefined || hasMember(reply.body, expect.member)) return undefined;
  return {
    stage: "auth",
    message: `the service answered ${status} without ${expect.member}, as it does when it does not take the credential`,
  };
}

/** Whether the JSON has something at the pointer (RFC 6901). */
function hasMember(body: Buffer, pointer: string): boolean {
  if (body.length > mostJsonBytes) return false;
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    return false;
  }
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return false;
    value = (value as Record<string, unknown>)[name];
  }
  return value !== undefined && value !== null;
}

function failureOf({ message, metadata }: ServiceError): ProbeResult {
  const { stage = "HTTP", upstream_status: status } = metadata;
  const prefix = `${stage}: `;
  return {
    ok: false,
    status: status === undefined ? undefined : Number(status),
    stage,
    message: message.startsWith(prefix) ? message.slice(prefix.length) : message,
  };
}
