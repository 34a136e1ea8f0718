import { InvalidSetting } from "#src/config/setting.ts";

/** The message; unless a setting is to blame, with the causes behind it, which the message may not name. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof InvalidSetting || error.cause === undefined) return error.message;
  return `${error.message}: ${describeFailure(error.cause)}`;
}
