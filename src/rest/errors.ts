import { ServiceError } from "#src/platform/errors.ts";

/** No method has this path, under any HTTP method. */
export class UnknownPath extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "UNKNOWN_PATH";

  constructor(nearest: string | undefined) {
    super(
      nearest ? `no such path; the nearest is ${nearest}` : "no such path; GET /openapi.json lists them all",
    );
  }
}

/** The path exists, but not with this HTTP method. */
export class MethodNotAllowed extends ServiceError {
  readonly kind = "unimplemented";
  readonly reason = "METHOD_NOT_ALLOWED";

  constructor(allow: string) {
    super(`this path does not take this HTTP method: use ${allow}`, { headers: { allow } });
  }
}

/** The body is not JSON, or it is encoded in a way that is not read. */
export class UnsupportedContentType extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "UNSUPPORTED_CONTENT_TYPE";
}

/** The body is larger than this service reads. */
export class MessageTooLarge extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "MESSAGE_TOO_LARGE";

  constructor(maxBytes: number, wholeField?: string) {
    const next =
      wholeField === undefined
        ? "send less at a time"
        : `send "${wholeField}" itself as the body, in a content type of its own`;
    super(`the body is larger than ${maxBytes} bytes: ${next}`);
  }
}
