import { inject } from "#src/integrations/inject.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Candidate } from "./candidate.ts";
import { CredentialRejected } from "./errors.ts";
import type { Probe } from "./probe.ts";

/** Asks the service whether it takes a connection as it would be. Throws `CredentialRejected`. */
export type Verify = (orgId: string, candidate: Candidate, signal: AbortSignal) => Promise<void>;

export function createVerify(probe: Probe): Verify {
  return async (orgId, { baseUrl, recipe, params, secrets }, signal) => {
    if (secrets === undefined) {
      throw new InvalidRequest(
        "verify: nobody has signed in yet; leave it out, and test the connection afterwards",
      );
    }
    const reveal = () => inject(recipe, params, secrets);
    const result = await probe.signIn({ orgId, baseUrl, recipe }, { boundTo: baseUrl, reveal }, signal);
    if (!result.ok) throw new CredentialRejected(result, result.status);
  };
}
