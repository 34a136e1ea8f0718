import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { ServiceError, type ErrorKind, type ReasonName } from "#src/platform/errors.ts";
import { DeadlineExceeded, InternalError } from "#src/pipeline/failures.ts";

/** A failure of how a request or an answer is framed, before or after any code of ours has a message. */
class FrameworkFailure extends ServiceError {
  readonly kind: ErrorKind;
  readonly reason: ReasonName;

  constructor(kind: ErrorKind, reason: ReasonName, message: string) {
    super(message);
    this.kind = kind;
    this.reason = reason;
  }
}

/**
 * What a code and message of Connect's own mean. Its text is passed on only for codes whose texts say what is
 * wrong with the request's form; the others may quote its contents.
 */
export function explainFramework(code: Code, message: string): ServiceError {
  switch (code) {
    case Code.ResourceExhausted:
      // The text names the limit.
      return messageTooLarge(Number(/readMaxBytes (\d+)/.exec(message)?.[1]));
    case Code.DeadlineExceeded:
      return new DeadlineExceeded();
    case Code.Unimplemented:
      return message.startsWith("unknown compression")
        ? // The code that gRPC and Connect ask for; Connect-ES adds the header that names what is known.
          new FrameworkFailure(
            "unimplemented",
            "UNSUPPORTED_CONTENT_TYPE",
            "compress with gzip or br, or not at all",
          )
        : unsupportedRequest(message);
    case Code.InvalidArgument:
      return malformedRequest(message);
    default:
      // Connect calls a request that it cannot take apart its own fault; it is the caller's. Only an answer that
      // cannot be written is ours.
      return message.startsWith("serialize")
        ? new InternalError(new Error("Connect could not write the answer"))
        : undecodable();
  }
}

/** The message is larger than may be read. */
export function messageTooLarge(maxBytes: number): ServiceError {
  const limit = maxBytes < 1024 * 1024 ? `${maxBytes / 1024} KiB` : `${maxBytes / 1024 / 1024} MiB`;
  return new FrameworkFailure(
    "resource_exhausted",
    "MESSAGE_TOO_LARGE",
    `the message is larger than ${limit}`,
  );
}

/** The request is not framed as its protocol wants it, as the text says. */
export function malformedRequest(text: string): ServiceError {
  return new FrameworkFailure("invalid_argument", "INVALID_REQUEST", text);
}

/** The request is framed as its protocol allows, but not for such a method, as the text says. */
export function unsupportedRequest(text: string): ServiceError {
  return new FrameworkFailure("unimplemented", "INVALID_REQUEST", text);
}

/** What is framed is no message of its type. Why, is not told: it may quote the message. */
export function undecodable(): ServiceError {
  return malformedRequest("the request cannot be decoded as its type");
}

/**
 * Says in our own words what Connect finds wrong with the messages of a stream: it throws that where they are read, so
 * that it would look like a fault of the handler. Innermost, as everything it does not know is passed on.
 */
export const explainMessages: Interceptor = (next) => async (request) => {
  if (!request.stream) return next(request);
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: explained(response.message) } : response;
  } catch (thrown) {
    throw explain(thrown);
  }
};

async function* explained<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw explain(thrown);
  }
}

/** What Connect throws has no failure of ours as its cause. */
function explain(thrown: unknown): unknown {
  const isConnects = thrown instanceof ConnectError && !(thrown.cause instanceof ServiceError);
  return isConnects && thrown.code !== Code.Canceled
    ? explainFramework(thrown.code, thrown.rawMessage)
    : thrown;
}

/** The call is to a host that no name can be. */
export function unreadableHost(): ServiceError {
  return new FrameworkFailure(
    "invalid_argument",
    "INVALID_REQUEST",
    "the host is not a host name: send the service's own, as Host or :authority",
  );
}

/** No method of that name is served here. */
export function unknownProcedure(): ServiceError {
  return new FrameworkFailure(
    "unimplemented",
    "UNKNOWN_PATH",
    "no such method; ask the reflection service for what there is",
  );
}

/** What a refusal without a body means. */
export function explainStatus(status: number, allow: string): ServiceError | undefined {
  switch (status) {
    case 405:
      return new FrameworkFailure("unimplemented", "METHOD_NOT_ALLOWED", `call this procedure with ${allow}`);
    case 415:
      return new FrameworkFailure(
        "invalid_argument",
        "UNSUPPORTED_CONTENT_TYPE",
        "send content-type application/json or application/proto, or a gRPC or gRPC-Web type",
      );
    case 505:
      return new FrameworkFailure(
        "unimplemented",
        "METHOD_NOT_ALLOWED",
        "streams in both directions need HTTP/2",
      );
    default:
      return undefined;
  }
}
