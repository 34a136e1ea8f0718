import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, decodeBinaryHeader } from "@connectrpc/connect";
import { ErrorInfoSchema, type ErrorInfo } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { Reason } from "#gen/patchbay/errors/v1/errors_pb.js";
import type { Call } from "#src/platform/caller.ts";
import type { ReasonName, ServiceError } from "#src/platform/errors.ts";
import { toConnectError } from "#src/pipeline/failures.ts";
import { whole } from "#src/platform/bytes.ts";
import {
  allCodes,
  connectErrorBytes,
  connectName,
  grpcErrorTrailers,
  httpStatusOf,
  percentEncode,
} from "./error-frames.ts";
import { frame, prefixBytes, trailersFlag } from "./frame.ts";
import { explainFramework, explainStatus } from "./framework-failure.ts";
import type { ProcedureHandler } from "./router.ts";

/** What Connect answers to a request, before it is written to the socket. */
export type Reply = Awaited<ReturnType<ProcedureHandler>>;

/**
 * The reply in our own words where Connect speaks for itself: refusals without a body get one, its own
 * failures get a reason and the code that fits, and a gRPC message is written so that grpc-js can read it.
 *
 * A failure of ours always carries details; one without is Connect's. Why it failed is noted in the call: decoders and
 * decompressors, which Connect calls, do not know whose call it is.
 */
export async function tidyReply(
  reply: Reply,
  requestType: string,
  allowedMethods: readonly string[],
  call: Call,
): Promise<Reply> {
  const allow = allowedMethods.join(", ");
  const bare = reply.body === undefined ? explainStatus(reply.status, allow) : undefined;
  if (bare !== undefined) return bareRefusal(reply, noted(bare, call), allow);
  if (requestType.startsWith("application/grpc-web")) return withTidyFrames(reply, call);
  if (requestType.startsWith("application/grpc")) return withTidyTrailer(reply, call);
  // A compressed error is long, and Connect's own are short.
  return reply.status >= 400 && !reply.header?.has("content-encoding")
    ? await tidyConnectError(reply, call)
    : reply;
}

function bareRefusal(reply: Reply, failure: ServiceError, allow: string): Reply {
  const header = new Headers(reply.header);
  header.set("content-type", "application/json");
  if (reply.status === 405) header.set("allow", allow);
  return { ...reply, header, body: chunks(connectErrorBytes(toConnectError(failure))) };
}

/** The whole reply to a request that no procedure gets to see. */
export function refusal(requestType: string, failure: ServiceError, call: Call): Reply {
  noted(failure, call);
  if (requestType.startsWith("application/grpc")) {
    const type = /^application\/grpc(?:-web)?(?:-text)?/.exec(requestType)?.[0] ?? "application/grpc";
    return { status: 200, header: failureTrailer(new Headers({ "content-type": type }), failure) };
  }
  const error = toConnectError(failure);
  const header = new Headers({ "content-type": "application/json" });
  return { status: httpStatusOf[error.code], header, body: chunks(connectErrorBytes(error)) };
}

async function tidyConnectError(reply: Reply, call: Call): Promise<Reply> {
  const bytes = await Array.fromAsync(reply.body ?? []);
  const error = JSON.parse(Buffer.concat(bytes).toString()) as {
    code: string;
    message?: string;
    details?: readonly { readonly type: string; readonly value: string }[];
  };
  if (error.details !== undefined) {
    const info = error.details.find(({ type }) => type === ErrorInfoSchema.typeName);
    if (info !== undefined) noteShown(fromBinary(ErrorInfoSchema, Buffer.from(info.value, "base64")), call);
    return { ...reply, body: chunks(...bytes) };
  }
  const code = allCodes.find((one) => connectName(one) === error.code);
  if (code === undefined || code === Code.Canceled) return { ...reply, body: chunks(...bytes) };
  const explained = toConnectError(noted(explainFramework(code, error.message ?? ""), call));
  const body = connectErrorBytes(explained);
  const header = new Headers(reply.header);
  header.set("content-length", String(body.length));
  return { ...reply, status: httpStatusOf[explained.code], header, body: chunks(body) };
}

function noted(failure: ServiceError, call: Call): ServiceError {
  call.failure = failure.reason;
  return failure;
}

function noteShown({ reason }: ErrorInfo, call: Call): void {
  if (isReason(reason)) call.failure ??= reason;
}

function isReason(text: string): text is ReasonName {
  return Object.hasOwn(Reason, text) && text !== "UNSPECIFIED";
}

/** gRPC: the trailer is complete only when the body was sent, so it is read then. */
function withTidyTrailer(reply: Reply, call: Call): Reply {
  return {
    status: reply.status,
    ...(reply.header && { header: tidyTrailer(reply.header, call) }),
    ...(reply.body && { body: reply.body }),
    get trailer() {
      return reply.trailer && tidyTrailer(reply.trailer, call);
    },
  } as Reply;
}

function tidyTrailer(trailer: Headers, call: Call): Headers {
  const message = trailer.get("grpc-message");
  const code = allCodes.find((one) => String(one) === trailer.get("grpc-status"));
  if (message === null || code === undefined) return trailer;
  const details = trailer.get("grpc-status-details-bin");
  if (details !== null || code === Code.Canceled) {
    const status = details === null ? undefined : decodeBinaryHeader(details, StatusSchema);
    for (const detail of status?.details ?? []) {
      const info = anyUnpack(detail, ErrorInfoSchema);
      if (info !== undefined) noteShown(info, call);
    }
    trailer.set("grpc-message", percentEncode(decodeURIComponent(message)));
    return trailer;
  }
  return failureTrailer(trailer, noted(explainFramework(code, decodeURIComponent(message)), call));
}

function failureTrailer(trailer: Headers, failure: ServiceError): Headers {
  for (const [name, value] of Object.entries(grpcErrorTrailers(toConnectError(failure))))
    trailer.set(name, value);
  return trailer;
}

/** gRPC-Web: the trailer is the last frame of the body. */
function withTidyFrames(reply: Reply, call: Call): Reply {
  return { ...reply, ...(reply.body && { body: mapFrames(reply.body, call) }) };
}

async function* mapFrames(body: AsyncIterable<Uint8Array>, call: Call): AsyncIterable<Uint8Array> {
  for await (const bytes of body) yield bytes[0] === trailersFlag ? tidyFrame(bytes, call) : bytes;
}

function tidyFrame(bytes: Uint8Array, call: Call): Uint8Array {
  const trailer = new Headers();
  for (const line of Buffer.from(bytes.subarray(prefixBytes)).toString().split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) trailer.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const text = [...tidyTrailer(trailer, call)].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return whole(frame(trailersFlag, [Buffer.from(text)]));
}

async function* chunks(...bytes: Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* bytes;
}
