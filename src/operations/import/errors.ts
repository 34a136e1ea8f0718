import { ServiceError } from "#src/platform/errors.ts";

/** The document is none that can be read, or there is nothing in it to import. */
export class ImportRefused extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "IMPORT_REFUSED";
}

/** The most imports that may wait for their turn do so. */
export class ImportBusy extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "IMPORT_BUSY";

  constructor(whose: "organisation" | "service") {
    super(
      whose === "organisation"
        ? "your organisation has as many imports under way as it may; try again when one of them is answered"
        : "the service has as many imports waiting as it may; try again in a moment",
      { headers: { "retry-after": "10" }, metadata: { imports: whose } },
    );
  }
}

/** The organisation keeps no import of this number of the service. */
export class UnknownRevision extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "UNKNOWN_REVISION";
  override readonly message =
    "no such revision, or it is no longer kept; list them with GET /api/integrations/{slug}/revisions";
}
