import {
  constants,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { PortLimits } from "./limits.ts";

/** Ends HTTP/2 sessions that have no stream. */
export function guardSessions(server: Http2Server | Http2SecureServer, limits: PortLimits): void {
  server.on("session", (session: ServerHttp2Session) => {
    let streams = 0;
    // Ahead of Node's own listener, which runs the handler.
    session.prependListener("stream", (stream) => {
      streams += 1;
      stream.once("close", () => {
        streams -= 1;
        if (streams === 0) session.setTimeout(limits.sessionIdleMs);
      });
    });
    session.setTimeout(limits.sessionIdleMs);
    session.on("timeout", () => {
      if (streams === 0) sayGoodbye(session, limits.lingerMs);
    });
  });
}

/** Tells the client not to use the session any more, and closes it for a client that does not. */
function sayGoodbye(session: ServerHttp2Session, lingerMs: number): void {
  // Not `close`: on a session without streams it waits for the client to hang up, for ever if need be.
  session.goaway();
  setTimeout(() => session.destroy(), lingerMs).unref();
}

/** Ends a stream that runs when its client stops sending or taking. */
export function guardStream(stream: ServerHttp2Stream, limits: PortLimits): void {
  const cut = () => stream.close(constants.NGHTTP2_CANCEL);
  stream.setTimeout(limits.stalledMs);
  stream.on("timeout", () => {
    // A stream that waits for its handler is quiet by right, e.g. one that watches for changes.
    if (isBeingSent(stream) || stream.bufferSize > 0) cut();
  });
  if (stream.endAfterHeaders) return;
  const deadline = setTimeout(() => {
    if (isBeingSent(stream)) cut();
  }, limits.requestMs);
  deadline.unref();
  stream.once("close", () => clearTimeout(deadline));
  stream.once("finish", () => {
    if (!isBeingSent(stream)) return;
    // The rest of an unwanted body is read for a while. Node resets a stream whose reading has not begun as soon
    // as it is answered, and curl loses an answer that a reset follows at once. Its request would stop reading when it
    // is full, and a stream that is not read to its end never closes: no line in the log, and no end of a drain.
    stream.removeAllListeners("data");
    stream.resume();
    setTimeout(() => stream.close(), limits.lingerMs).unref();
  });
}

/** Whether the end of the request is still to come. */
function isBeingSent(stream: ServerHttp2Stream): boolean {
  const { state } = stream.state;
  return (
    state === constants.NGHTTP2_STREAM_STATE_OPEN ||
    state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL
  );
}
