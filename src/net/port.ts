import { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { onceClosed, type Handler, type Request, type Response } from "#src/platform/http.ts";
import { canonicalAddress } from "#src/platform/ip.ts";
import type { Log } from "#src/platform/log.ts";
import { Members } from "#src/platform/members.ts";
import { createHttp1Guard } from "./http1.ts";
import { defaultLimits, type PortLimits } from "./limits.ts";
import { listenError } from "./listen-error.ts";
import { createLastAnswers, headersTooLarge } from "./last-answers.ts";
import { answerFailure, everyAnswer, type EarlyFailure } from "./response.ts";
import { cleartextServers, secureServers, type Tls } from "./servers.ts";
import { guardSessions, guardStream } from "./sessions.ts";
import { createTurns } from "./turns.ts";

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

const noHost: EarlyFailure = {
  status: 400,
  reason: "INVALID_REQUEST",
  message: "the request has no Host header, which HTTP/1.1 asks for",
};
const noExpectation: EarlyFailure = {
  status: 417,
  reason: "INVALID_REQUEST",
  message: "of all expectations, only 100-continue is met here: leave out the Expect header",
};
const noTunnel: EarlyFailure = {
  status: 501,
  reason: "METHOD_NOT_ALLOWED",
  message: "this is no proxy: CONNECT is not served",
};
const brokenHandler: EarlyFailure = { status: 500, reason: "INTERNAL", message: "internal error" };

/** Creates the port, still closed. */
export function createPort({ handler, tls, limits: chosen, log }: PortOptions): Port {
  const limits = { ...defaultLimits, ...chosen };
  const { listener, sessions } = tls === undefined ? cleartextServers(limits) : secureServers(tls, limits);
  const guardHttp1 = createHttp1Guard(limits);
  const sockets = new Set<Socket>();
  const running = new Members<Response>();
  let drained: Promise<boolean> | undefined;
  /** Takes the drain as far as it gets; there is nothing to do before one began. */
  let proceed = () => {};

  listener.maxConnections = limits.connections;
  // In a worker as well. By default it gives such a connection back to the primary, which offers it again at once, and
  // so on without an end: two processes would do nothing else. Node has had this since 23.1; its types do not know it.
  Object.assign(listener, { dropMaxConnection: true });
  listener.on("drop", () =>
    log.warn({ connections: limits.connections }, "connection refused: too many are open"),
  );
  listener.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  guardSessions(sessions, limits);
  const turns = createTurns(limits);
  const lastAnswers = createLastAnswers({ ...limits, refused: noteRefused });
  for (const server of new Set([listener, sessions])) {
    server.on("request", receive);
    server.on("checkExpectation", (request: Request, response: Response) =>
      receive(request, response, noExpectation),
    );
    server.on("connect", (request: Request, answerer: Response | Socket) => {
      if ("stream" in answerer) receive(request, answerer, noTunnel);
      else void lastAnswers.give(noTunnel, answerer as Socket);
    });
  }
  listener.on("clientError", (error: Error, socket: Socket) => void lastAnswers.gaveUp(error, socket));

  /** Takes a request in; one with a fault is answered with that, and no handler gets to see it. */
  function receive(request: Request, response: Response, fault?: EarlyFailure): void {
    const leave = running.add(response);
    onceClosed(response, () => {
      leave();
      proceed();
    });
    for (const [name, value] of Object.entries(everyAnswer)) response.setHeader(name, value);
    if ("stream" in response) {
      const { stream } = response;
      turns.take(stream, () => {
        guardStream(stream, limits);
        answer(request, response, fault ?? faultOf(request));
      });
    } else if (request instanceof IncomingMessage) {
      lastAnswers.passed(request, response);
      if (!guardHttp1(request, response)) return;
      if (drained !== undefined) response.setHeader("connection", "close");
      answer(request, response, fault ?? faultOf(request));
    }
  }

  function faultOf(request: Request): EarlyFailure | undefined {
    // Node holds HTTP/2 clients to it only once they have confirmed our settings, which they may never do.
    if (headerBytesOf(request) > limits.headerBytes) return headersTooLarge(limits.headerBytes);
    const needsHost = request.httpVersion === "1.1" && request.headers.host === undefined;
    return needsHost ? noHost : undefined;
  }

  function answer(request: Request, response: Response, fault: EarlyFailure | undefined): void {
    if (fault !== undefined) {
      if (request.httpVersionMajor === 1) response.setHeader("connection", "close");
      answerFailure(response, fault);
      return noteRefused(fault, String(response.getHeader("x-request-id")), request.socket);
    }
    try {
      handler(request, response);
    } catch (error) {
      log.error({ err: error }, "the handler of the port failed");
      if (response.headersSent) response.destroy();
      else answerFailure(response, brokenHandler);
    }
  }

  /** The access log does not get to see it, and its id shall be found all the same. */
  function noteRefused({ status, message }: EarlyFailure, requestId: string, socket: Socket): void {
    const peerAddress = canonicalAddress(socket.remoteAddress);
    log.info({ requestId, status, peerAddress }, `request refused: ${message}`);
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
        // A client hangs up once it has its answers and was asked to go. This is for those that do not.
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
            listener.on("error", (error) => log.warn({ err: error }, "a connection could not be accepted"));
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
