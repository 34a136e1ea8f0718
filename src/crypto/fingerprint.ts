import { createHmac } from "node:crypto";
import type { Pepper } from "./service-keys.ts";

/** What answers and audit events show of an organisation's secret: enough to compare it, not to guess it. */
export type Fingerprint = (orgId: string, secret: Buffer) => string;

/**
 * A hash without a key would do for a random API key; a password could be guessed by it. Each organisation has a key of
 * its own, so that none can compare its secrets with those of another.
 */
export function createFingerprint(pepper: Pepper): Fingerprint {
  return (orgId, secret) => {
    // NUL, as whatever else is hashed with the pepper and then stored is text without it.
    const key = pepper(`fingerprint\0${orgId}`);
    const hash = createHmac("sha256", key).update(secret).digest("hex");
    key.fill(0);
    return `hmac-sha256:${hash}`;
  };
}
