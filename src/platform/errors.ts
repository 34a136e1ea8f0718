import type { Reason } from "#gen/patchbay/errors/v1/errors_pb.js";

/** The reasons that clients may rely on, without the enum's prefix. */
export type ReasonName = Exclude<keyof typeof Reason, "UNSPECIFIED">;

/** What went wrong, in terms that every protocol can express. `src/rpc/errors.ts` maps each to its code. */
export type ErrorKind =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "failed_precondition"
  | "already_exists"
  | "aborted"
  | "resource_exhausted"
  | "deadline_exceeded"
  | "unavailable"
  | "unimplemented"
  | "internal";

/**
 * A failure that was foreseen: its message may be shown to the caller, and its reason is one that clients
 * may rely on. Anything thrown that is not one of these reaches the caller as `internal error`.
 */
export abstract class ServiceError extends Error {
  abstract readonly kind: ErrorKind;
  abstract readonly reason: ReasonName;
  /** Facts for programs, shown to the caller beside the reason. Never a secret. */
  readonly metadata: Readonly<Record<string, string>> = {};

  override get name(): string {
    return this.constructor.name;
  }
}
