import { ServiceError } from "#src/platform/errors.ts";

/** A head is of an event that is no longer kept, so nothing can be compared with it. */
export class AuditExpired extends ServiceError {
  readonly kind = "out_of_range";
  readonly reason = "AUDIT_EXPIRED";

  constructor(last: bigint) {
    super(
      `events up to number ${last} are no longer kept; give a head of event ${last} or of a later one, or none to verify what is kept`,
      { metadata: { last: String(last) } },
    );
  }
}

/** An export is of the whole record, and the key may know of a part of it only. */
export class WholeRecordOnly extends ServiceError {
  readonly kind = "permission_denied";
  readonly reason = "WHOLE_RECORD_ONLY";

  constructor() {
    super(
      "an export is the whole record, and the key is limited to some connections; use a key that is not, or list events",
    );
  }
}

/** A file is no export, or not a whole one. */
export class NotAnExport extends Error {
  override readonly name = "NotAnExport";

  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
  }
}
