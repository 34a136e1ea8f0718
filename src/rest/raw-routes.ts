import { ConnectError, Code } from "@connectrpc/connect";
import { hasNoBody, readBody } from "#src/pipeline/body.ts";
import { toHttpFailure } from "#src/pipeline/failures.ts";
import { send } from "#src/pipeline/lane.ts";
import type { Pipeline } from "#src/pipeline/pipeline.ts";
import { rawEntrance } from "#src/pipeline/policy.ts";
import { callOfRequest } from "#src/pipeline/request-call.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { cut, onceClosed, type Handler, type Request, type Response } from "#src/platform/http.ts";
import { orEnd } from "#src/platform/or-end.ts";
import type { RawExchange, RawRoute } from "#src/platform/raw-route.ts";
import type { Feature } from "#src/platform/served-service.ts";
import { failureAnswer } from "./codec.ts";

/** What serves the paths that are no RPC, behind the same gate. */
export interface RawRoutes {
  /** The handler of a path; undefined if it is none of them. */
  find(path: string): Handler | undefined;
  /** Whether the query of a path is another service's. */
  hasForeignQuery(path: string): boolean;
}

/** Puts the gate before each route of the features. Throws for one that asks for an unknown scope. */
export function createRawRoutes(
  features: readonly Feature[],
  pipeline: Pick<Pipeline, "gate" | "report" | "contextValues">,
): RawRoutes {
  const routes = features.flatMap((feature) => feature.rawRoutes ?? []);
  const handlers = routes.map((route) => ({ route, handle: handlerOf(route, pipeline) }));
  const routeOf = (path: string) => handlers.find(({ route }) => route.matches(path));
  return {
    find: (path) => routeOf(path)?.handle,
    hasForeignQuery: (path) => routeOf(path)?.route.hasForeignQuery === true,
  };
}

function handlerOf(
  route: RawRoute,
  { gate, report, contextValues }: Pick<Pipeline, "gate" | "report" | "contextValues">,
): Handler {
  const entrance = rawEntrance(route);

  async function handle(request: Request, response: Response): Promise<void> {
    const values = contextValues(request, response);
    const call = callOf({ values });
    const ending = endingOf(response);
    const { signal } = ending;
    const head: Record<string, string> = {};
    try {
      await gate({
        entrance,
        values,
        signal,
        target: request.url ?? "",
        authorization: request.headers.authorization,
        answerWith: (name, value) => (head[name] = value),
      });
      await route.serve(exchangeOf({ request, response, call, caller: callerOf({ values }), head, signal }));
    } catch (thrown) {
      const failure = toHttpFailure(report(thrown, call, signal));
      if (response.headersSent) return cut(response);
      send(request, response, failureAnswer(failure, { ...route.headers, ...head }));
    } finally {
      // Whatever failed, nothing goes on for an answer that nobody gets.
      ending.abort(over);
    }
  }

  return (request, response) => {
    handle(request, response).catch((error: unknown) => {
      // A failure that could not be sent.
      report(error, callOfRequest(request));
      cut(response);
    });
  };
}

function exchangeOf(parts: Omit<RawExchange, "hasNoBody" | "readBody">): RawExchange {
  const { request, call, signal } = parts;
  return {
    ...parts,
    hasNoBody: hasNoBody(request),
    readBody: (maxBytes) => orEnd(signal, () => readBody(request, maxBytes, call.holding)),
  };
}

/** Aborts when the caller goes away before its answer is written. */
export function endingOf(response: Response): AbortController {
  const ending = new AbortController();
  onceClosed(response, () => {
    // An HTTP/2 response calls itself finished also when it was reset.
    if ("stream" in response || !response.writableFinished) ending.abort(over);
  });
  return ending;
}

// One for all: an error for each answer would cost as much as a look-up of a key.
const over = new ConnectError("the caller went away", Code.Canceled);
