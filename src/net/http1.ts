import type { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { PortLimits } from "./limits.ts";

/** Ends HTTP/1.1 exchanges that a client drags out, as `guardSessions` does on HTTP/2. Answers false if it refused. */
export function createHttp1Guard(
  limits: PortLimits,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const pipelined = new WeakMap<Socket, number>();

  /** Node runs every request of a pipeline at once, however many there are. */
  function admit(socket: Socket, response: ServerResponse): boolean {
    const waiting = (pipelined.get(socket) ?? 0) + 1;
    if (waiting >= limits.requestsPerConnection) return false;
    pipelined.set(socket, waiting);
    response.once("close", () => pipelined.set(socket, (pipelined.get(socket) ?? 1) - 1));
    return true;
  }

  /**
   * Node destroys a connection with the last byte of its last answer. What the client still sends then breaks its
   * side off as well, often before it has read the answer.
   */
  function lingerWhileSending(request: IncomingMessage): void {
    const { socket } = request;
    const destroySoon = () => Socket.prototype.destroySoon.call(socket);
    socket.destroySoon = () => {
      if (request.complete) return destroySoon();
      socket.end();
      request.resume();
      setTimeout(() => socket.destroy(), limits.lingerMs).unref();
    };
  }

  return (request, response) => {
    const { socket } = request;
    // It had its last answer. What comes now is only read so that it gets to see it.
    if (socket.writableEnded) return false;
    lingerWhileSending(request);
    const isQueued = response.socket === null;
    if (isQueued && !admit(socket, response)) {
      socket.destroy();
      return false;
    }
    response.setTimeout(limits.stalledMs, () => {
      // A response that waits for its handler is quiet by right, e.g. one that watches for changes.
      if (!request.complete || socket.writableLength > 0) socket.destroy();
    });
    response.once("finish", () => {
      // The rest of an unwanted body is read for a while, so that the client gets to see its answer.
      if (!request.complete) setTimeout(() => request.complete || socket.destroy(), limits.lingerMs).unref();
    });
    return true;
  };
}
