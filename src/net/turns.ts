import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";

/** Lets at most this many requests of one HTTP/2 session run, and the next ones wait for their turn. */
export interface Turns {
  /** Starts the request of a stream as soon as it is its turn; never, if the stream is closed before. */
  take(stream: ServerHttp2Stream, start: () => void): void;
}

interface Session {
  running: number;
  /** In the order in which they came. */
  readonly waiting: Set<() => void>;
}

/**
 * A client may have more streams open than run here, because Node counts a stream that was reset until the next turn
 * of the event loop, and refuses what comes before that: at the limit, a client that cancels calls and makes others in
 * their place would be refused, though it never had more open than it may.
 */
export function createTurns(limits: { requestsPerConnection: number; waitingStreams: number }): Turns {
  const sessions = new WeakMap<Http2Session, Session>();
  let waitingStreams = 0;

  function run(session: Session, stream: ServerHttp2Stream, start: () => void): void {
    session.running += 1;
    stream.once("close", () => {
      // Not at once: of a flood of streams that are opened and reset, only these few begin in one turn of the loop.
      setImmediate(() => {
        session.running -= 1;
        const [next] = session.waiting;
        next?.();
      });
    });
    start();
  }

  function wait(session: Session, stream: ServerHttp2Stream, start: () => void): void {
    const leave = () => {
      if (session.waiting.delete(next)) waitingStreams -= 1;
    };
    const next = () => {
      leave();
      stream.off("close", leave);
      run(session, stream, start);
    };
    session.waiting.add(next);
    waitingStreams += 1;
    stream.once("close", leave);
  }

  return {
    take(stream, start) {
      if (stream.session === undefined) return;
      const session = sessions.get(stream.session) ?? { running: 0, waiting: new Set() };
      sessions.set(stream.session, session);
      if (session.running < limits.requestsPerConnection) run(session, stream, start);
      // This code says that nothing was done, so that clients may try again elsewhere.
      else if (waitingStreams >= limits.waitingStreams) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else wait(session, stream, start);
    },
  };
}
