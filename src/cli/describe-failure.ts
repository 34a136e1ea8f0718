import { InvalidSetting } from "#src/config/setting.ts";
import { RootKeyUnavailable } from "#src/crypto/errors.ts";

/** The message; unless a setting is to blame, with the causes behind it, which the message may not name. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Its own text is for callers, who are not told where the root key is.
  if (error instanceof RootKeyUnavailable && error.cause instanceof Error) return error.cause.message;
  if (error instanceof InvalidSetting || error.cause === undefined) return error.message;
  return `${error.message}: ${describeFailure(error.cause)}`;
}
