import { ServiceError } from "#src/platform/errors.ts";

/** The document is none that can be read, or there is nothing in it to import. */
export class ImportRefused extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "IMPORT_REFUSED";
}
