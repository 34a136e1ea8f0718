import type { EndpointSecret } from "./endpoint.ts";
import { RotationUnderWay } from "./errors.ts";

/** The secrets of an endpoint after a rotation. */
export interface Rotation {
  readonly fresh: EndpointSecret;
  /** Those that go on to be good for a while. */
  readonly kept: readonly EndpointSecret[];
  readonly previousValidUntil: Date;
}

/** The new secret, with the previous one good for the grace. Without a grace, all previous ones end. */
export function rotate(secrets: readonly EndpointSecret[], graceMs: number, now: Date): Rotation {
  const live = secrets.filter(({ validUntil }) => validUntil === undefined || validUntil > now);
  const version = Math.max(0, ...secrets.map((secret) => secret.version)) + 1;
  const fresh = { version, createdAt: now, validUntil: undefined };
  if (graceMs === 0) return { fresh, kept: [], previousValidUntil: now };
  const retiring = live.find(({ validUntil }) => validUntil !== undefined);
  if (retiring?.validUntil !== undefined) throw new RotationUnderWay(retiring.validUntil);
  const previousValidUntil = new Date(now.getTime() + graceMs);
  return {
    fresh,
    kept: live.map((secret) => ({ ...secret, validUntil: previousValidUntil })),
    previousValidUntil,
  };
}
