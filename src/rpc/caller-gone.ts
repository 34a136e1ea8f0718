import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import { universalRequestFromNodeRequest } from "@connectrpc/connect-node";
import { DeadlineExceeded, toConnectError } from "#src/pipeline/failures.ts";
import { onceClosed, type Request, type Response } from "#src/platform/http.ts";
import { orEnd } from "#src/platform/or-end.ts";

/**
 * Why a call ends that its caller gave up, in whatever way: with a reset of any code, by hanging up, or in the middle
 * of its body. connect-node makes an error of its own of each, some of which look like faults of ours.
 */
const callerGone = new ConnectError("the caller went away", Code.Canceled);

/**
 * The request as Connect takes it, which knows one way only in which a caller can be gone, and ends with its deadline
 * also while its body is read.
 */
export function universalRequest(request: Request, response: Response, values: ContextValues) {
  const over = new AbortController();
  onceClosed(response, () => over.abort(callerGone));
  const asked = universalRequestFromNodeRequest(request, response, undefined, values);
  return {
    ...asked,
    signal: over.signal,
    body: bodyOf(request, over.signal),
    /** Ends the call after so long. */
    endAfter(milliseconds: number) {
      const end = () => over.abort(toConnectError(new DeadlineExceeded()));
      const timer = setTimeout(end, milliseconds);
      onceClosed(response, () => clearTimeout(timer));
    },
  };
}

async function* bodyOf(request: Request, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const pieces = (request as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  try {
    // Not `for await`: it would destroy the request, and with it the connection that the answer goes to.
    for (;;) {
      const { done, value } = await orEnd(signal, () => pieces.next());
      if (done === true) break;
      yield value;
    }
  } catch {
    throw signal.aborted ? signal.reason : callerGone;
  }
  // With code 0, a reset looks like the end of the body.
  if ("stream" in request && request.aborted) throw callerGone;
}
