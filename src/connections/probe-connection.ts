import type { Viewer } from "#src/platform/caller.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { OpenConnection } from "./connections.ts";
import type { Probe, ProbeResult } from "./probe.ts";

/** A connection whose service is to be asked. */
export interface ProbedConnection {
  readonly id: string;
  readonly baseUrl: string;
  /** Whether its integration declares a probe, which is made with the credential. */
  readonly declared: boolean;
}

/** What was found, and at which base URL: with a declared probe, the one that the connection has by then. */
export interface Found {
  readonly baseUrl: string;
  readonly result: ProbeResult;
}

/** Asks the service of a connection for a sign of life. Undefined if there is no such connection any more. */
export type ProbeConnection = (
  viewer: Pick<Viewer, "orgId" | "environment">,
  probed: ProbedConnection,
) => Promise<Found | undefined>;

/** Only a declared probe reads the credential: of most connections, nothing is needed but the base URL. */
export function createProbeConnection(
  probe: Probe,
  open: (viewer: Viewer, id: string) => Promise<OpenConnection | undefined>,
): ProbeConnection {
  return async ({ orgId, environment }, { id, baseUrl, declared }) => {
    if (!declared) return { baseUrl, result: await probe.reach({ orgId, baseUrl }) };
    try {
      const opened = await open({ orgId, environment, userId: undefined }, id);
      if (opened === undefined) return undefined;
      const { connection, credential } = opened;
      using _wiped = credential;
      return { baseUrl: connection.baseUrl, result: await probe.signIn(connection, credential) };
    } catch (error) {
      // Without a credential, such as an access token that cannot be had, it does not work: that is what was asked.
      if (!(error instanceof ServiceError) || error.kind === "internal") throw error;
      return { baseUrl, result: { ok: false, status: undefined, stage: "auth", message: error.message } };
    }
  };
}
