import { create, type Message, toBinary, toJson } from "@bufbuild/protobuf";
import { anyPack, type Any } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError, encodeBinaryHeader } from "@connectrpc/connect";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { withoutOuterSpace } from "#src/platform/http.ts";

type Detail = ConnectError["details"][number];

/** The JSON that a unary Connect call fails with (https://connectrpc.com/docs/protocol, “Error end-stream”). */
export function connectErrorBytes({ code, rawMessage, details }: ConnectError): Buffer {
  return Buffer.from(
    JSON.stringify({
      code: connectName(code),
      ...(rawMessage !== "" && { message: rawMessage }),
      ...(details.length > 0 && { details: details.map(detailJson) }),
    }),
  );
}

function detailJson(detail: Detail) {
  if (!("desc" in detail)) return { type: detail.type, value: base64(detail.value) };
  const message = create(detail.desc, detail.value) as Message;
  return {
    type: detail.desc.typeName,
    debug: toJson(detail.desc, message, { alwaysEmitImplicit: true }),
    value: base64(toBinary(detail.desc, message)),
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replace(/=+$/, "");
}

/** The trailers that a gRPC call fails with. */
export function grpcErrorTrailers({ code, rawMessage, details }: ConnectError): Record<string, string> {
  const trailers = { "grpc-status": String(code), "grpc-message": percentEncode(rawMessage) };
  if (details.length === 0) return trailers;
  const status = create(StatusSchema, { code, message: rawMessage, details: details.map(detailAny) });
  return { ...trailers, "grpc-status-details-bin": encodeBinaryHeader(status, StatusSchema) };
}

function detailAny(detail: Detail): Any | { typeUrl: string; value: Uint8Array } {
  return "desc" in detail
    ? anyPack(detail.desc, create(detail.desc, detail.value) as Message)
    : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value };
}

/**
 * Connect encodes more than gRPC asks for, and grpc-js decodes less than that: `missing scope%3A …`. Only what
 * gRPC names is encoded here: all but printable ASCII, and `%` itself.
 */
export function percentEncode(message: string): string {
  // A header has no space at its ends.
  return withoutOuterSpace(message).replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
}

/** Every code but that of success, which Connect leaves out. */
export const allCodes = Object.values(Code).filter((value) => typeof value === "number");

export function connectName(code: Code): string {
  return Code[code].replace(/(?<=.)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

/** The HTTP status of each code (https://connectrpc.com/docs/protocol#error-codes). */
export const httpStatusOf: Readonly<Record<Code, number>> = {
  [Code.Canceled]: 499,
  [Code.Unknown]: 500,
  [Code.InvalidArgument]: 400,
  [Code.DeadlineExceeded]: 504,
  [Code.NotFound]: 404,
  [Code.AlreadyExists]: 409,
  [Code.PermissionDenied]: 403,
  [Code.ResourceExhausted]: 429,
  [Code.FailedPrecondition]: 400,
  [Code.Aborted]: 409,
  [Code.OutOfRange]: 400,
  [Code.Unimplemented]: 501,
  [Code.Internal]: 500,
  [Code.Unavailable]: 503,
  [Code.DataLoss]: 500,
  [Code.Unauthenticated]: 401,
};
