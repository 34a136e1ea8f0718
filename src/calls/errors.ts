import { ServiceError } from "#src/platform/errors.ts";
import { inOneLine, maxProblems, type InputProblem } from "./input-problems.ts";

/** A query parameter that cannot be written in a URL in exactly one way. */
export class InvalidCall extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_OUTBOUND_REQUEST";
}

/** The service has no such operation. */
export class UnknownAction extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "UNKNOWN_ACTION";
  /** The operation that may have been meant. */
  readonly near: string | undefined;
  /** Whether the catalog names any operation of the service. */
  readonly isDescribed: boolean;

  constructor(slug: string, near: string | undefined, isDescribed: boolean) {
    const hint = near === undefined ? "" : `did you mean ${slug}/${near}? `;
    super(
      isDescribed
        ? `the catalog names no such operation of ${slug}; ${hint}GET /api/catalog/services lists them`
        : `the catalog names no operations of ${slug}; name this one by method and path, as ${slug}/GET /path/{id}`,
    );
    this.near = near;
    this.isDescribed = isDescribed;
  }
}

/** What was given for the operation does not fit it. */
export class InvalidInput extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_INPUT";
  readonly problems: readonly InputProblem[];

  constructor(problems: readonly InputProblem[]) {
    const listed = problems.slice(0, maxProblems).map(inOneLine);
    while (listed.length > 1 && Buffer.byteLength(listed.join("; ")) > maxBytes) listed.pop();
    super(`input: ${listed.join("; ")}${listed.length < problems.length ? "; and others" : ""}`);
    this.problems = problems;
  }
}

/** Over gRPC it stands in the headers of the answer twice, and some clients take 8 KiB of them. */
const maxBytes = 2_000;
