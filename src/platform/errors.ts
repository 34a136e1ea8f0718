import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import type { Reason } from "#gen/patchbay/errors/v1/errors_pb.js";

/** The reasons that clients may rely on, without the enum's prefix. */
export type ReasonName = Exclude<keyof typeof Reason, "UNSPECIFIED">;

/** What went wrong, in terms that every protocol can express. `src/pipeline/failures.ts` maps each to its code. */
export type ErrorKind =
  | "invalid_argument"
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "failed_precondition"
  | "already_exists"
  | "resource_exhausted"
  | "out_of_range"
  | "deadline_exceeded"
  | "unavailable"
  | "unimplemented"
  | "internal";

/** A message that goes out with a failure. */
export interface ErrorDetail {
  readonly desc: DescMessage;
  readonly value: MessageInitShape<DescMessage>;
}

/** What a failure says beside its message. */
export interface FailureFacts {
  /** Facts for programs, shown to the caller beside the reason. Never a secret. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Further details for programs, such as the violations of a request's rules. */
  readonly details?: readonly ErrorDetail[];
  /** What the answer's headers say of the failure, such as `allow`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The error behind it, for the log. */
  readonly cause?: unknown;
}

/**
 * An expected failure: its message may be shown to the caller, and its reason is one that clients
 * may rely on. Anything thrown that is not one of these reaches the caller as `internal error`.
 */
export abstract class ServiceError extends Error {
  abstract readonly kind: ErrorKind;
  abstract readonly reason: ReasonName;
  readonly metadata: Readonly<Record<string, string>>;
  readonly details: readonly ErrorDetail[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(message = "", { metadata = {}, details = [], headers = {}, cause }: FailureFacts = {}) {
    super(message, cause === undefined ? {} : { cause });
    this.metadata = metadata;
    this.details = details;
    this.headers = headers;
  }

  override get name(): string {
    return this.constructor.name;
  }
}

/**
 * How a failure is logged that is no caller's answer. What was foreseen, such as a database that is away, is no fault
 * of ours: a client that comes at that moment must not write a line at level error.
 */
export function levelOfFailure(error: unknown): "warn" | "error" {
  return error instanceof ServiceError ? "warn" : "error";
}

/** The request breaks a rule; the message names the field and says what to give. */
export class InvalidRequest extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_REQUEST";
}
