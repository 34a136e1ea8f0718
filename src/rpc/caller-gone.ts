import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import { universalRequestFromNodeRequest } from "@connectrpc/connect-node";
import { onceClosed, type Request, type Response } from "#src/platform/http.ts";

/**
 * Why a call ends that its caller gave up, in whatever way: with a reset of any code, by hanging up, or in the middle
 * of its body. connect-node makes an error of its own of each, some of which look like faults of ours.
 */
const callerGone = new ConnectError("the caller went away", Code.Canceled);

/** The request as Connect takes it, which knows one way only in which a caller can be gone. */
export function universalRequest(request: Request, response: Response, values: ContextValues) {
  const gone = new AbortController();
  onceClosed(response, () => gone.abort(callerGone));
  const asked = universalRequestFromNodeRequest(request, response, undefined, values);
  return { ...asked, signal: gone.signal, body: bodyOf(request) };
}

async function* bodyOf(request: Request): AsyncIterable<Uint8Array> {
  try {
    yield* request as AsyncIterable<Uint8Array>;
  } catch {
    throw callerGone;
  }
  // With code 0, a reset looks like the end of the body.
  if ("stream" in request && request.aborted) throw callerGone;
}
