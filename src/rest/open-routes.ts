import { readBody } from "#src/pipeline/body.ts";
import { refuseCredentialsInUrl } from "#src/pipeline/credentials-in-url.ts";
import { toHttpFailure } from "#src/pipeline/failures.ts";
import { send, type Answer } from "#src/pipeline/lane.ts";
import type { Pipeline } from "#src/pipeline/pipeline.ts";
import { callOfRequest } from "#src/pipeline/request-call.ts";
import type { ByteBudget } from "#src/platform/byte-budget.ts";
import { cut, onceClosed, type Handler, type Request, type Response } from "#src/platform/http.ts";
import type { OpenAnswer, OpenRoute } from "#src/platform/open-route.ts";
import { orEnd } from "#src/platform/or-end.ts";
import type { Feature } from "#src/platform/served-service.ts";
import { failureAnswer } from "./codec.ts";
import { endingOf } from "./raw-routes.ts";

/** What serves the paths that no gate stands before. */
export interface OpenRoutes {
  /** The handler of a path; undefined if it is none of them. */
  find(path: string): Handler | undefined;
}

/** Serves the open routes of the features, inside the limits of the port. */
export function createOpenRoutes(
  features: readonly Feature[],
  parts: { report: Pipeline["report"]; budget: ByteBudget },
): OpenRoutes {
  const handlers = features
    .flatMap((feature) => feature.openRoutes ?? [])
    .map((route) => ({ route, handle: handlerOf(route, parts) }));
  return { find: (path) => handlers.find(({ route }) => route.matches(path))?.handle };
}

function handlerOf(
  route: OpenRoute,
  { report, budget }: { report: Pipeline["report"]; budget: ByteBudget },
): Handler {
  async function handle(request: Request, response: Response): Promise<void> {
    const call = callOfRequest(request);
    call.rpc = route.name;
    const { signal } = endingOf(response);
    let owner = "";
    const holding = budget.open(() => owner);
    onceClosed(response, () => holding.release());
    try {
      const answer = await route.serve({
        ...{ request, call, signal },
        refuseCredentialsInUrl: (queryOwner) => refuseCredentialsInUrl(request.url ?? "", queryOwner),
        readBody(maxBytes, ofWhom) {
          owner = ofWhom;
          return orEnd(signal, () => readBody(request, maxBytes, holding));
        },
      });
      send(request, response, withLength(answer));
    } catch (thrown) {
      send(request, response, failureAnswer(toHttpFailure(report(thrown, call, signal)), {}));
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

/** Some senders take an answer in chunks for none, and it costs a write more. */
function withLength({ status, headers, body }: OpenAnswer): Answer {
  if (status === 204) return { status, headers };
  const length = String(body?.length ?? 0);
  return { status, headers: { ...headers, "content-length": length }, body: body && [body] };
}
