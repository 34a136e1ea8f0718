import type { DescMethodUnary, Message } from "@bufbuild/protobuf";
import type { ContextValues } from "@connectrpc/connect";
import type { ServerResponse } from "node:http";
import { lengthOf, type Pieced } from "#src/platform/bytes.ts";
import type { Request, Response } from "#src/platform/http.ts";
import { hasNoBody } from "./body.ts";
import { callLimitsOf } from "./call-limits.ts";
import type { CallUnary } from "./call-unary.ts";
import { Exchange } from "./exchange.ts";
import type { Gate } from "./gate.ts";

/** How a protocol frames one unary call. */
export interface Codec {
  readonly protocolName: string;
  /** How long the call may take, which has so long. A malformed deadline is the call's fault, and told behind the gate. */
  deadline(request: Request, mostMs: number): Deadline;
  /** Reads and decodes the message. */
  read(exchange: Exchange): Promise<Message>;
  answer(exchange: Exchange, message: Message): Answer | Promise<Answer>;
  refuse(exchange: Exchange, thrown: unknown): Answer | Promise<Answer>;
}

/** How long a call may take, and what is wrong with what its caller says of that. */
export interface Deadline {
  readonly timeoutMs: number;
  readonly fault?: Error | undefined;
}

/** What goes back, in one write. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  /** In pieces that follow each other: to put long ones together would take as long as to make them. */
  readonly body?: Pieced | undefined;
  readonly trailers?: Readonly<Record<string, string>> | undefined;
}

/** Serves one unary call from its headers to its answer. */
export type Lane = (
  method: DescMethodUnary,
  codec: Codec,
  request: Request,
  response: Response,
) => Promise<void>;

/** The story of every unary call that Connect does not serve: gate, body, handler, answer. */
export function createLane(parts: {
  gate: Gate;
  call: CallUnary;
  contextValues: (request: Request, response: Response) => ContextValues;
}): Lane {
  const { gate, call, contextValues } = parts;

  async function answerTo(exchange: Exchange, codec: Codec, { fault }: Deadline): Promise<Answer> {
    try {
      // Not cut short by a deadline: whoever has no good key learns that, however little time it gives.
      await gate(exchange);
      if (fault !== undefined) throw fault;
      const message = await exchange.orEnd(() => codec.read(exchange));
      const answered = await exchange.orEnd(() => call(exchange.method, message, exchange));
      return await codec.answer(exchange, answered);
    } catch (thrown) {
      return await codec.refuse(exchange, thrown);
    } finally {
      exchange.close();
    }
  }

  return async (method, codec, request, response) => {
    const deadline = codec.deadline(request, callLimitsOf(method).timeoutMs);
    const values = contextValues(request, response);
    const { protocolName } = codec;
    const exchange = new Exchange({ method, request, response, protocolName, values, ...deadline });
    const given = await answerTo(exchange, codec, deadline);
    send(request, response, given);
    // All that led to it is gone, and the answer lies here until the caller has read it.
    exchange.holding?.become(lengthOf(given.body ?? []));
    exchange.holding?.waitForReader(() => response.destroy());
  };
}

/** Sends an answer. Node drops it if nobody is there to read it any more. */
export function send(request: Request, response: Response, given: Answer): void {
  const { status, headers, body, trailers } = given;
  // Otherwise the caller would go on sending a body in vain. A stream of HTTP/2 is ended by the port, a little later:
  // curl loses an answer that a reset follows at once.
  const isUnread = request.httpVersionMajor === 1 && !hasNoBody(request) && !request.complete;
  // Both modules' responses take these calls; only their types cannot be called as one.
  const out = response as ServerResponse;
  out.writeHead(status, isUnread ? { ...headers, connection: "close" } : headers);
  if (trailers !== undefined) out.addTrailers(trailers);
  const pieces = request.method === "HEAD" ? [] : (body ?? []);
  for (const piece of pieces.slice(0, -1)) out.write(piece);
  out.end(pieces.at(-1));
}
