import type { Outbound } from "#src/outbound/outbound.ts";
import { ServiceError } from "#src/platform/errors.ts";

/** Whether a service could be reached. */
export type ProbeResult =
  { readonly ok: true; readonly latencyMs: number } | { readonly ok: false; readonly error: string };

/** Asks a connected service for a sign of life. Resolves also when there is none. */
export type Probe = (connection: { orgId: string; baseUrl: string }) => Promise<ProbeResult>;

const probeTimeoutMs = 5_000;

/**
 * A probe is a GET of the base URL without the credential, which is nothing to send around every minute to
 * a service that may have changed hands. Any answer but 5xx says that something is there and works.
 */
export function createProbe(outbound: Outbound): Probe {
  return async ({ orgId, baseUrl }) => {
    try {
      const reply = await outbound.send({
        share: orgId,
        // A probe must not wait behind calls that hang.
        lane: "probes",
        baseUrl,
        method: "GET",
        path: "",
        // A body of any length, or one that never ends, is a sign of life as well.
        statusOnly: true,
        timeoutMs: probeTimeoutMs,
      });
      if (reply.status >= 500) return { ok: false, error: `status: the service answered ${reply.status}` };
      return { ok: true, latencyMs: Math.round(reply.latencyMs) };
    } catch (error) {
      if (error instanceof ServiceError) return { ok: false, error: error.message };
      throw error;
    }
  };
}
