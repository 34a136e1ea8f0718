import type { Server as HttpServer } from "node:http";
import type { Http2Server } from "node:http2";
import type { Socket } from "node:net";

// No HTTP/1.1 method that Node accepts starts with these, so three bytes decide.
const http2Start = Buffer.from("PRI");

/**
 * Lets the port of an HTTP/1.1 server answer HTTP/2 with prior knowledge too, by the first bytes of each connection.
 *
 * The HTTP/1.1 server goes on owning the sockets, so that its counting of connections and its closing cover both.
 */
export function shareConnections(http1: HttpServer, http2: Http2Server, firstBytesMs: number): void {
  const serveHttp1 = http1.listeners("connection");
  http1.removeAllListeners("connection");
  http1.on("connection", (socket: Socket) => {
    sniff(socket, firstBytesMs, (isHttp2) => {
      if (!isHttp2) {
        for (const serve of serveHttp1) serve.call(http1, socket);
        return;
      }
      // The HTTP/1.1 server leaves it to itself to close its half; an HTTP/2 session would never do so.
      socket.allowHalfOpen = false;
      http2.emit("connection", socket);
    });
  });
}

function sniff(socket: Socket, firstBytesMs: number, decide: (isHttp2: boolean) => void): void {
  let seen: Buffer = Buffer.alloc(0);

  const read = () => {
    for (let bytes: Buffer | null; (bytes = socket.read()) !== null;) seen = Buffer.concat([seen, bytes]);
    const start = seen.subarray(0, http2Start.length);
    const mayBeHttp2 = start.equals(http2Start.subarray(0, start.length));
    if (mayBeHttp2 && start.length < http2Start.length) return;
    for (const [event, listener] of listeners) socket.off(event, listener);
    socket.setTimeout(0);
    // Only now and only once: bytes that are put back while we still wait for more make the socket readable
    // again at once, and a client that sends `PR` and waits would keep the process busy for ever.
    socket.unshift(seen);
    decide(mayBeHttp2);
  };
  const close = () => socket.destroy();

  const listeners = [
    ["readable", read],
    ["end", close],
    ["timeout", close],
    ["error", close],
  ] as const;
  for (const [event, listener] of listeners) socket.on(event, listener);
  socket.setTimeout(firstBytesMs);
}
