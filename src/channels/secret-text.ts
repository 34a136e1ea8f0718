import { hash, randomBytes } from "node:crypto";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { ChannelConfig } from "./channel.ts";
import { presetOf, schemeOf } from "./scheme-of.ts";
import { secretProblem } from "./signatures/secrets.ts";

/** A secret that a channel is to have. */
export interface SecretText {
  readonly text: string;
  /** Whoever gave it has it, and need not be shown it. */
  readonly isGiven: boolean;
}

/** The secret that the caller gives, if it fits how the channel's sender proves itself; else a new one. */
export function secretFrom(given: string | undefined, config: ChannelConfig): SecretText {
  if (given === undefined) return { text: newSecret(config), isGiven: false };
  const scheme = schemeOf(config);
  const problem = scheme && secretProblem(scheme, Buffer.from(given, "utf8"));
  if (problem !== undefined) throw new InvalidRequest(`secret: ${problem}`);
  return { text: given, isGiven: true };
}

/** Whether the vendor makes the secret, and shows it perhaps only when it knows the channel's address. */
export function isSecretTheirs(config: ChannelConfig): boolean {
  return config.receiver?.authentication === "signature" && presetOf(config).secretIsTheirs;
}

function newSecret(config: ChannelConfig): string {
  const scheme = schemeOf(config);
  if (scheme?.kind === "basic") return `sender:${randomText()}`;
  const isStandard = scheme?.kind === "signature" && scheme.proofs.some(({ secret }) => secret === "whsec");
  return isStandard ? `whsec_${randomBytes(32).toString("base64")}` : randomText();
}

/** The secret end of an address. */
export function newSegment(): string {
  return randomText();
}

/** What is stored of a secret segment: it has 256 random bits, so no hash of it can be guessed. */
export function segmentHashOf(segment: string): Buffer {
  return hash("sha256", segment, "buffer");
}

function randomText(): string {
  return randomBytes(32).toString("base64url");
}
