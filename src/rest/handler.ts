import { type DescMethodUnary, type DescService, type Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createHandlerContext,
  type HandlerContext,
} from "@connectrpc/connect";
import type { ServerResponse } from "node:http";
import type { Holding } from "#src/platform/byte-budget.ts";
import { callKey } from "#src/platform/caller.ts";
import type { HttpFailure } from "#src/platform/http-failure.ts";
import {
  hostOf,
  onceClosed,
  targetOf,
  type Handler,
  type Request,
  type Response,
} from "#src/platform/http.ts";
import { type Binding, restRoutes } from "./binding.ts";
import { hasNoBody, jsonOfBody, readBody, refuseEncoding } from "./body.ts";
import { decodeRequest } from "./decode.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { MessageTooLarge } from "./errors.ts";
import { jsonBytesOf } from "#src/json/write.ts";
import { createRouter, type Route } from "./router.ts";

/** What the REST side needs of the service around it. */
export interface RestOptions {
  readonly contracts: readonly DescService[];
  /** Decides from the headers whether the call may go on, or throws. Runs before the body is read. */
  gate(context: HandlerContext): Promise<void>;
  /** Runs interceptors and handler. */
  call(method: DescMethodUnary, request: Message, context: HandlerContext): Promise<Message>;
  /** The values of one request, which hold its call (`src/platform/caller.ts`). */
  contextValues(request: Request, response: Response): ContextValues;
  /** What a caller may see of anything thrown. */
  failureOf(thrown: unknown, request: Request): HttpFailure;
  readonly readMaxBytes: number;
  /** How long a call may take, reading its body included. */
  readonly timeoutMs: number;
}

/** Makes the handler that answers REST requests. Throws if the services' routes have faults. */
export function createRestHandler(options: RestOptions): Handler {
  const findRoute = createRouter(restRoutes(options.contracts));

  async function handle(request: Request, response: Response): Promise<void> {
    let headers: Headers | undefined;
    try {
      const { path, query } = targetOf(request);
      const route = findRoute(request.method ?? "", path);
      const context = contextOf(options, request, response, route.binding);
      headers = context.responseHeader;
      onceClosed(response, () => {
        if (!context.signal.aborted) context.abort(new ConnectError("the caller went away", Code.Canceled));
      });
      try {
        const served = serve(options, request, route, query, context);
        const { method, responseBody: only, bare } = route.binding;
        const shape = { only, wrapIn: bare ? undefined : "data" };
        const body = served.then((message) => jsonBytesOf(method.output, message, shape));
        answer(response, route.binding, await untilAborted(context.signal, body), context);
      } finally {
        context.abort("the call has ended");
      }
    } catch (error) {
      refuse(request, response, options.failureOf(error, request), headers);
    }
  }

  return (request, response) => {
    handle(request, response).catch((error: unknown) => {
      // A failure that could not be sent. Unhandled, it would end the process, and with it the calls of all others.
      options.failureOf(error, request);
      response.destroy();
    });
  };
}

/** The story of one call. */
async function serve(
  options: RestOptions,
  request: Request,
  route: Route,
  query: string,
  context: HandlerContext,
): Promise<Message> {
  const { method, httpMethod, body } = route.binding;
  await options.gate(context);
  refuseEncoding(request);
  const maxBytes = body === undefined ? 0 : options.readMaxBytes;
  const bytes = await readBody(request, maxBytes, holdingOf(context.values));
  if (bytes === undefined) {
    throw body === undefined
      ? new InvalidRequest(`this ${httpMethod} takes no body: send fields in path and query`)
      : new MessageTooLarge(maxBytes);
  }
  return options.call(method, decodeRequest(route, query, jsonOfBody(request, bytes)), context);
}

function contextOf(options: RestOptions, request: Request, response: Response, { method }: Binding) {
  const { path, query } = targetOf(request);
  const scheme = "encrypted" in request.socket ? "https" : "http";
  const headers = Object.entries(request.headers).filter(([name]) => !name.startsWith(":"));
  return createHandlerContext({
    service: method.parent,
    method,
    protocolName: "rest",
    requestMethod: request.method ?? "",
    // Always one that can be parsed, whatever the caller says its host is.
    url: `${scheme}://${hostOf(request) ?? "localhost"}${path}${query && `?${query}`}`,
    timeoutMs: options.timeoutMs,
    requestHeader: headers.flatMap(([name, value]) =>
      [value ?? []].flat().map((one): [string, string] => [name, one]),
    ),
    contextValues: options.contextValues(request, response),
  });
}

function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}

function answer(
  response: Response,
  { status }: Binding,
  body: Buffer,
  { responseHeader, values }: HandlerContext,
): void {
  send(response, status, body, Object.fromEntries(responseHeader));
  // All that led to it is gone, and the answer lies here until the caller has read it.
  const holding = holdingOf(values);
  holding?.become(body.length);
  holding?.waitForReader(() => response.destroy());
}

function refuse(
  request: Request,
  response: Response,
  shown: HttpFailure,
  headersSoFar: Headers | undefined,
): void {
  // Its answer has begun: the caller must not take it for a whole one.
  if (response.headersSent) return void response.destroy();
  const isUnread = !hasNoBody(request) && !request.complete;
  const headers: Record<string, string> = {
    ...Object.fromEntries(headersSoFar ?? []),
    ...shown.headers,
    "x-error-reason": shown.reason,
  };
  // Otherwise the caller would go on sending a body in vain. A stream of HTTP/2 is ended by the port, a
  // little later: curl loses an answer that a reset follows at once.
  if (isUnread && request.httpVersionMajor === 1) headers.connection = "close";
  send(response, shown.status, Buffer.from(JSON.stringify({ error: shown.message })), headers);
}

function send(
  response: Response,
  status: number,
  body: Buffer,
  headers: Readonly<Record<string, string>>,
): void {
  // Both modules' responses take these calls, and neither sends a body to HEAD; only their types cannot be called as one.
  (response as ServerResponse).writeHead(status, {
    ...headers,
    "content-type": "application/json",
    "content-length": body.length,
  });
  (response as ServerResponse).end(body);
}

function holdingOf(values: ContextValues): Holding | undefined {
  return values.get(callKey)?.holding;
}
