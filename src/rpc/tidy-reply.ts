import { Code } from "@connectrpc/connect";
import type { ServiceError } from "#src/platform/errors.ts";
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
 * A failure of ours always carries details; one without is Connect's.
 */
export async function tidyReply(
  reply: Reply,
  requestType: string,
  allowedMethods: readonly string[],
): Promise<Reply> {
  const allow = allowedMethods.join(", ");
  const bare = reply.body === undefined ? explainStatus(reply.status, allow) : undefined;
  if (bare !== undefined) return bareRefusal(reply, bare, allow);
  if (requestType.startsWith("application/grpc-web")) return withTidyFrames(reply);
  if (requestType.startsWith("application/grpc")) return withTidyTrailer(reply);
  // A compressed error is long, and Connect's own are short.
  return reply.status >= 400 && !reply.header?.has("content-encoding")
    ? await tidyConnectError(reply)
    : reply;
}

function bareRefusal(reply: Reply, failure: ServiceError, allow: string): Reply {
  const header = new Headers(reply.header);
  header.set("content-type", "application/json");
  if (reply.status === 405) header.set("allow", allow);
  return { ...reply, header, body: chunks(connectErrorBytes(toConnectError(failure))) };
}

/** The whole reply to a request that no procedure gets to see. */
export function refusal(requestType: string, failure: ServiceError): Reply {
  if (requestType.startsWith("application/grpc")) {
    const type = /^application\/grpc(?:-web)?(?:-text)?/.exec(requestType)?.[0] ?? "application/grpc";
    return { status: 200, header: failureTrailer(new Headers({ "content-type": type }), failure) };
  }
  const error = toConnectError(failure);
  const header = new Headers({ "content-type": "application/json" });
  return { status: httpStatusOf[error.code], header, body: chunks(connectErrorBytes(error)) };
}

async function tidyConnectError(reply: Reply): Promise<Reply> {
  const bytes = await Array.fromAsync(reply.body ?? []);
  const error = JSON.parse(Buffer.concat(bytes).toString()) as {
    code: string;
    message?: string;
    details?: unknown;
  };
  if (error.details !== undefined) return { ...reply, body: chunks(...bytes) };
  const code = allCodes.find((one) => connectName(one) === error.code);
  if (code === undefined || code === Code.Canceled) return { ...reply, body: chunks(...bytes) };
  const explained = toConnectError(explainFramework(code, error.message ?? ""));
  const body = connectErrorBytes(explained);
  const header = new Headers(reply.header);
  header.set("content-length", String(body.length));
  return { ...reply, status: httpStatusOf[explained.code], header, body: chunks(body) };
}

/** gRPC: the trailer is complete only when the body was sent, so it is read then. */
function withTidyTrailer(reply: Reply): Reply {
  return {
    status: reply.status,
    ...(reply.header && { header: tidyTrailer(reply.header) }),
    ...(reply.body && { body: reply.body }),
    get trailer() {
      return reply.trailer && tidyTrailer(reply.trailer);
    },
  } as Reply;
}

function tidyTrailer(trailer: Headers): Headers {
  const message = trailer.get("grpc-message");
  const code = allCodes.find((one) => String(one) === trailer.get("grpc-status"));
  if (message === null || code === undefined) return trailer;
  if (trailer.has("grpc-status-details-bin") || code === Code.Canceled) {
    trailer.set("grpc-message", percentEncode(decodeURIComponent(message)));
    return trailer;
  }
  return failureTrailer(trailer, explainFramework(code, decodeURIComponent(message)));
}

function failureTrailer(trailer: Headers, failure: ServiceError): Headers {
  for (const [name, value] of Object.entries(grpcErrorTrailers(toConnectError(failure))))
    trailer.set(name, value);
  return trailer;
}

/** gRPC-Web: the trailer is the last frame of the body. */
function withTidyFrames(reply: Reply): Reply {
  return { ...reply, ...(reply.body && { body: mapFrames(reply.body) }) };
}

async function* mapFrames(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const bytes of body) yield bytes[0] === trailersFlag ? tidyFrame(bytes) : bytes;
}

function tidyFrame(bytes: Uint8Array): Uint8Array {
  const trailer = new Headers();
  for (const line of Buffer.from(bytes.subarray(prefixBytes)).toString().split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) trailer.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const text = [...tidyTrailer(trailer)].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return whole(frame(trailersFlag, [Buffer.from(text)]));
}

async function* chunks(...bytes: Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* bytes;
}
