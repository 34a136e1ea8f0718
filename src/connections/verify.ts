import { InvalidRequest } from "#src/platform/errors.ts";
import type { Candidate } from "./candidate.ts";
import { injectionOf } from "./credentials.ts";
import { CredentialRejected } from "./errors.ts";
import type { Probe } from "./probe.ts";

/** Asks the service whether it takes a connection as it would be. Throws `CredentialRejected`. */
export type Verify = (
  orgId: string,
  /** With the service that may present the stored secret, if only one may. */
  candidate: Candidate & { readonly callerServiceSlug?: string | undefined },
  signal: AbortSignal,
) => Promise<void>;

export function createVerify(probe: Probe): Verify {
  return async (orgId, candidate, signal) => {
    const { baseUrl, recipe, params, secrets, callerServiceSlug } = candidate;
    if (secrets === undefined) {
      throw new InvalidRequest(
        "verify: nobody has signed in yet; leave it out, and test the connection afterwards",
      );
    }
    const reveal = () => injectionOf({ recipe, params, callerServiceSlug }, secrets);
    const result = await probe.signIn({ orgId, baseUrl, recipe }, { boundTo: baseUrl, reveal }, signal);
    if (!result.ok) throw new CredentialRejected(result, result.status);
  };
}
