import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { onceClosed } from "#src/platform/http.ts";
import { Members } from "#src/platform/members.ts";
import { bytesOfFailure, type EarlyFailure } from "./response.ts";

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Answers with which an HTTP/1.1 connection ends: those that Node would give itself, without a word. */
export interface LastAnswers {
  /** Notes a request that the parser passed on: its answer comes before that to what follows it. */
  passed(request: IncomingMessage, response: ServerResponse): void;
  /** Answers a request that the parser gave up on: where the next one would begin is unknown. */
  gaveUp(error: NodeJS.ErrnoException, socket: Socket): Promise<void>;
  /** Answers the request that follows those that were passed on. */
  give(failure: EarlyFailure, socket: Socket): Promise<void>;
}

export function createLastAnswers(parts: {
  headerBytes: number;
  lingerMs: number;
  refused: (failure: EarlyFailure, requestId: string, socket: Socket) => void;
}): LastAnswers {
  const { headerBytes, lingerMs, refused } = parts;
  const unanswered = new WeakMap<Socket, Members<Exchange>>();
  const ending = new WeakSet<Socket>();

  async function give(failure: EarlyFailure, socket: Socket): Promise<void> {
    // The parser gives up again at each piece that follows.
    if (ending.has(socket)) return;
    ending.add(socket);
    // Node takes its own listener away from the socket of a tunnel, and an error without one would end the process.
    socket.on("error", () => {});
    const exchanges = [...(unanswered.get(socket) ?? [])];
    // In the middle of its body: the failure is its answer.
    const broken = exchanges.find(({ request }) => !request.complete);
    const before = exchanges.filter((exchange) => exchange !== broken);
    await Promise.all(before.map(({ response }) => closed(response)));
    if (!socket.writable || broken?.response.headersSent === true) return void socket.destroy();
    const requestId = String(broken?.response.getHeader("x-request-id") ?? randomUUID());
    refused(failure, requestId, socket);
    socket.end(bytesOfFailure(failure, requestId));
    // What the client still sends is read for a while, so that it gets to see the answer.
    setTimeout(() => socket.destroy(), lingerMs).unref();
  }

  return {
    passed(request, response) {
      const { socket } = request;
      const exchanges = unanswered.get(socket) ?? new Members();
      unanswered.set(socket, exchanges);
      onceClosed(response, exchanges.add({ request, response }));
    },

    async gaveUp(error, socket) {
      const failure = failureOf(error, headerBytes);
      if (failure === undefined) socket.destroy();
      else await give(failure, socket);
    },

    give,
  };
}

function closed(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => onceClosed(response, resolve));
}

/**
 * The failure that the caller gets; undefined for what is no fault of a request, such as a reset or a failed handshake.
 */
function failureOf({ code = "" }: NodeJS.ErrnoException, headerBytes: number): EarlyFailure | undefined {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return headersTooLarge(headerBytes);
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return {
        status: 413,
        reason: "MESSAGE_TOO_LARGE",
        message: "the chunk extensions are too large: send none",
      };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return {
        status: 408,
        reason: "DEADLINE_EXCEEDED",
        message: "the request did not arrive in time: send its headers and its body without long pauses",
      };
    default:
      return code.startsWith("HPE_")
        ? { status: 400, reason: "INVALID_REQUEST", message: "the request is not valid HTTP/1.1" }
        : undefined;
  }
}

/** More headers than are read. */
export function headersTooLarge(headerBytes: number): EarlyFailure {
  const message = `the headers are larger than ${headerBytes / 1024} KiB: send less in them`;
  return { status: 431, reason: "MESSAGE_TOO_LARGE", message };
}
