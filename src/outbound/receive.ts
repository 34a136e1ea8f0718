import type { IncomingHttpHeaders } from "node:http";
import type { Dispatcher } from "undici";
import { heldPieces, type Hold } from "./body.ts";
import { UpstreamTooLarge } from "./errors.ts";
import { moreThan, tooManyHeaders } from "./failures.ts";

/** A service's answer as it came. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What is taken of an answer, and what is to be done on the way. */
export interface Receipt {
  readonly host: string;
  readonly bodyBytes: number;
  readonly headerBytes: number;
  readonly hold: Hold;
  /** Ends the call after the answer's headers, and leaves them out. */
  readonly statusOnly: boolean;
  /** Ends the call after the answer's headers, and leaves the body out. */
  readonly headOnly: boolean;
  /** Ends the call at any time, and is the reason. */
  readonly signal: AbortSignal;
  /** Called when the request has its socket, before the first byte is written: the service has seen nothing yet. */
  readonly started: () => void;
  /** Called with the status as soon as it is known. */
  readonly begun: (status: number) => void;
}

/** How much of a body that is left out is still taken, and for how long, before its socket is closed. */
const leftOutBytes = 64 * 1024;
const leftOutMs = 1_000;

/**
 * Sends a request and collects its answer, without undici's streams and signals. What a step throws ends the call and
 * closes the socket. A request that waits for its socket cannot be taken back: once the signal aborts, it is not
 * written, and only then is this over.
 */
export function receive(
  dispatcher: Dispatcher,
  sent: Dispatcher.DispatchOptions,
  receipt: Receipt,
): Promise<RawAnswer> {
  const { host, bodyBytes, signal } = receipt;
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  const pieces = heldPieces(bodyBytes, receipt.hold);
  let head: Omit<RawAnswer, "body"> = { status: 0, headers: {} };
  let leftOut = 0;
  let patience: NodeJS.Timeout | undefined;
  dispatcher.dispatch(sent, {
    onRequestStart(controller) {
      if (signal.aborted) return controller.abort(signal.reason as Error);
      signal.addEventListener("abort", () => controller.abort(signal.reason as Error));
      receipt.started();
    },
    onResponseStart(controller, status, headers) {
      if (status < 200) return;
      receipt.begun(status);
      if (receipt.statusOnly) {
        resolve({ status, headers: {}, body: Buffer.of() });
        return controller.abort(new Error("nothing but the status is wanted"));
      }
      if (receipt.headOnly) {
        const isShown = sizeOf(headers) <= receipt.headerBytes;
        resolve({ status, headers: isShown ? headers : {}, body: Buffer.of() });
        patience = setTimeout(() => controller.abort(new Error("the body does not end")), leftOutMs);
        return;
      }
      if (sizeOf(headers) > receipt.headerBytes) throw new UpstreamTooLarge(host, tooManyHeaders, status);
      head = { status, headers };
    },
    onResponseData(controller, piece) {
      if (receipt.headOnly) {
        leftOut += piece.length;
        if (leftOut > leftOutBytes) controller.abort(new Error("the body is too long to be left out"));
        return;
      }
      if (!pieces.add(piece)) throw new UpstreamTooLarge(host, moreThan(bodyBytes), head.status);
    },
    onResponseEnd() {
      clearTimeout(patience);
      resolve({ ...head, body: pieces.whole() });
    },
    onResponseError(_, error) {
      clearTimeout(patience);
      reject(error);
    },
  });
  return promise;
}

/** How many characters the headers have. */
export function sizeOf(headers: IncomingHttpHeaders): number {
  return Object.entries(headers).flat(2).join("").length;
}
