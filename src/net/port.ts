import { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Handler, Request, Response } from "#src/platform/http.ts";
import type { Log } from "#src/platform/log.ts";
import { createHttp1Guard } from "./http1.ts";
import { defaultLimits, type PortLimits } from "./limits.ts";
import { listenError } from "./listen-error.ts";
import { answerError } from "./response.ts";
import { onceClosed } from "#src/platform/http.ts";
import { cleartextServers, secureServers, type Tls } from "./servers.ts";
import { guardSessions } from "./sessions.ts";

/** The one port of the service: HTTP/1.1 and HTTP/2, in clear text or over TLS. */
export interface Port {
  /** Opens the port; port 0 takes a free one. Answers where it really listens. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  /**
   * Closes the port for good: nothing new comes in, and what runs finishes. Whatever is left after `graceMs` is
   * cut. True if nothing had to be.
   */
  drain(graceMs: number): Promise<boolean>;
}

export interface PortOptions {
  readonly handler: Handler;
  /** With a certificate the port speaks TLS only. */
  readonly tls?: Tls | undefined;
  readonly limits?: Partial<PortLimits> | undefined;
  readonly log: Log;
}

function headerBytesOf({ httpVersionMajor, rawHeaders }: Request): number {
  // The parser of HTTP/1.1 has counted them.
  return httpVersionMajor === 1 ? 0 : rawHeaders.reduce((bytes, text) => bytes + text.length, 0);
}

/** Creates the port, still closed. */
export function createPort({ handler, tls, limits: chosen, log }: PortOptions): Port {
  const limits = { ...defaultLimits, ...chosen };
  const { listener, sessions } = tls === undefined ? cleartextServers(limits) : secureServers(tls, limits);
  const guardHttp1 = createHttp1Guard(limits);
  const sockets = new Set<Socket>();
  const running = new Set<Response>();
  let drained: Promise<boolean> | undefined;
  /** Takes the drain as far as it gets; there is nothing to do before one began. */
  let proceed = () => {};

  listener.maxConnections = limits.connections;
  listener.on("drop", () =>
    log.warn({ connections: limits.connections }, "connection refused: too many are open"),
  );
  listener.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  guardSessions(sessions, limits);
  for (const server of new Set([listener, sessions])) server.on("request", receive);

  function receive(request: Request, response: Response): void {
    running.add(response);
    onceClosed(response, () => {
      running.delete(response);
      proceed();
    });
    if (request instanceof IncomingMessage && response instanceof ServerResponse) {
      if (!guardHttp1(request, response)) return;
      if (drained !== undefined) response.setHeader("connection", "close");
    }
    response.setHeader("x-content-type-options", "nosniff");
    // Node holds HTTP/2 clients to it only once they have confirmed our settings, which they may never do.
    if (headerBytesOf(request) > limits.headerBytes)
      return answerError(response, 431, "the headers are too large");
    try {
      handler(request, response);
    } catch (error) {
      log.error({ err: error }, "the handler of the port failed");
      if (response.headersSent) response.destroy();
      else answerError(response, 500, "internal error");
    }
  }

  function cut(): void {
    for (const socket of sockets) socket.destroy();
  }

  function finish(graceMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      let isClosed = false;
      let allFinished = true;
      const grace = setTimeout(() => {
        allFinished = running.size === 0;
        cut();
      }, graceMs);
      proceed = () => {
        listener.closeIdleConnections();
        if (running.size > 0) return;
        if (isClosed) {
          clearTimeout(grace);
          resolve(allFinished);
          return;
        }
        // A client hangs up once it has its answers and was told to go. This is for those that do not.
        setTimeout(() => running.size > 0 || cut(), limits.lingerMs).unref();
      };
      // Node says so when the last connection closes, just before the responses that were cut with it close.
      listener.close(() => {
        isClosed = true;
        proceed();
      });
      sessions.close();
      for (const response of running) {
        if (response instanceof ServerResponse && !response.headersSent)
          response.setHeader("connection", "close");
      }
      proceed();
    });
  }

  return {
    listen(host, port) {
      return new Promise((resolve, reject) => {
        const fail = (error: unknown) => reject(listenError(error, host, port));
        listener.once("error", fail);
        try {
          listener.listen({ host, port }, () => {
            listener.off("error", fail);
            // A connection that cannot be accepted, e.g. for want of file descriptors, must not end the process.
            listener.on("error", (error) => log.error({ err: error }, "a connection could not be accepted"));
            const address = listener.address() as AddressInfo;
            resolve({ host: address.address, port: address.port });
          });
        } catch (error) {
          fail(error);
        }
      });
    },
    drain(graceMs) {
      drained ??= finish(graceMs);
      return drained;
    },
  };
}
