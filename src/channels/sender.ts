import { grants } from "#src/api-keys/scopes.ts";
import { MissingScope } from "#src/api-keys/errors.ts";
import { secretOfBearer } from "#src/api-keys/secret-format.ts";
import type { Call } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import type { Authenticate } from "#src/verification/authenticate.ts";
import { InvalidBearer } from "#src/verification/errors.ts";
import type { Limits } from "#src/verification/limits.ts";
import { AddressUnknown, UnknownSender } from "./errors.ts";
import type { Receiving } from "./receiving.ts";
import type { SignedRequest } from "./signatures/request.ts";
import { verifySignature } from "./signatures/verify.ts";

const publishing = "events:publish";

/** Makes sure that a request is from the channel's sender. */
export interface Sender {
  /** Whether the headers alone say who sent the request, so that no stranger's body need be read. */
  isKnownByHeaders(receiving: Receiving): boolean;
  /** How the sender is known, as its events say it. Throws what it is answered if it is not. */
  require(receiving: Receiving, request: SignedRequest, call: Call): Promise<string>;
}

/** Creates the one place where senders are known. */
export function createSender(parts: { authenticate: Authenticate; limits: Limits; now: () => Date }): Sender {
  const { authenticate, limits, now } = parts;

  async function requireKey({ orgId }: Receiving, { headers }: SignedRequest, call: Call): Promise<string> {
    const { remoteAddress: address, requestId, authorizationLines } = call;
    const [, value = ""] = headers.find(([name]) => name.toLowerCase() === "authorization") ?? [];
    const secret = authorizationLines === 1 ? secretOfBearer(value) : undefined;
    const { caller } = await limits.limitFailures(clientNameOf(address), (beforeGuess) => {
      if (secret === undefined) throw new InvalidBearer("malformed");
      return authenticate({ secret, address, requestId, beforeGuess });
    });
    call.caller = caller;
    // To the key of another organisation, the channel is one that does not exist.
    if (caller.orgId !== orgId) throw new AddressUnknown();
    const { budget } = await limits.spend({ ...caller, id: caller.via.id });
    if (!budget.allowed) throw new RateLimited(budget);
    if (!grants(caller.scopes, publishing)) throw new MissingScope(publishing);
    return "bearer";
  }

  async function requireProof(receiving: Receiving, request: SignedRequest, call: Call): Promise<string> {
    const { scheme, id } = receiving;
    if (scheme === undefined) throw new UnknownSender();
    // Each wrong proof is counted. A right one is let in from wherever it comes: a signature cannot be guessed, and many
    // senders may share an address. What could be guessed is not even looked at when too many were wrong; but for this
    // channel alone, or a customer of a vendor could have the vendor shut out of all others.
    const client = clientNameOf(call.remoteAddress);
    const guesser = senderName(scheme.kind === "signature" ? client : `${client} ${id}`);
    return limits.limitFailures(guesser, async (beforeGuess) => {
      if (scheme.kind !== "signature") await beforeGuess();
      const verdict = await verifySignature(scheme, request, liveSecrets(receiving, now()), now());
      if (verdict.verified) return verdict.scheme;
      if (verdict.refusal === "wrong") throw new UnknownSender();
      throw new InvalidRequest("a header by which the sender proves itself is there twice; send it once");
    });
  }

  return {
    isKnownByHeaders: ({ scheme }) => scheme === undefined || ["token", "basic"].includes(scheme.kind),
    async require(receiving, request, call) {
      switch (receiving.receiver.authentication) {
        case "none":
          return "none";
        case "bearer":
          return requireKey(receiving, request, call);
        default:
          return requireProof(receiving, request, call);
      }
    },
  };
}

/**
 * The name under which wrong requests to channels are counted. Not those of wrong keys: behind a proxy that does not say
 * who asks, any stranger would have the holders of keys shut out with it.
 */
export function senderName(client: string): string {
  return `sender ${client}`;
}

/** The secrets that are good now, the newest first. */
export function liveSecrets({ secrets }: Receiving, now: Date): Buffer[] {
  return secrets
    .filter(({ validUntil }) => validUntil === undefined || validUntil > now)
    .map(({ bytes }) => bytes);
}
