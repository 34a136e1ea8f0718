import type { Viewer } from "#src/platform/caller.ts";
import type { OpenConnection } from "./connections.ts";
import { AuthorizationNeeded, RefreshFailed } from "./oauth/errors.ts";
import type { Probe, ProbeResult } from "./probe.ts";

/** A connection whose service is to be asked. */
export interface ProbedConnection {
  readonly id: string;
  readonly baseUrl: string;
  /** Whether its integration declares a probe, which is made with the credential. */
  readonly declared: boolean;
  /** Whether its credential is used though it was switched off, since whoever tests it asks for that. */
  readonly evenInactive: boolean;
}

/** What was found, and at which base URL: with a declared probe, the one that the connection has by then. */
export interface Found {
  readonly baseUrl: string;
  readonly result: ProbeResult;
}

/** Asks the service of a connection for a sign of life. */
export type ProbeConnection = (
  viewer: Pick<Viewer, "orgId" | "environment">,
  probed: ProbedConnection,
) => Promise<Found>;

/** Only a declared probe reads the credential: of most connections, nothing is needed but the base URL. */
export function createProbeConnection(
  probe: Probe,
  /** Undefined for a connection without a credential, and for one that is gone or switched off by now. */
  open: (viewer: Viewer, probed: ProbedConnection) => Promise<OpenConnection | undefined>,
): ProbeConnection {
  return async ({ orgId, environment }, probed) => {
    const { baseUrl, declared } = probed;
    try {
      const opened = declared ? await open({ orgId, environment, userId: undefined }, probed) : undefined;
      if (opened === undefined) return { baseUrl, result: await probe.reach({ orgId, baseUrl }) };
      const { connection, credential } = opened;
      using _wiped = credential;
      return { baseUrl: connection.baseUrl, result: await probe.signIn(connection, credential) };
    } catch (error) {
      // Without an access token it does not work: that is what was asked. What fails here is no fault of the service.
      if (!(error instanceof AuthorizationNeeded || error instanceof RefreshFailed)) throw error;
      return { baseUrl, result: { ok: false, status: undefined, stage: "auth", message: error.message } };
    }
  };
}
