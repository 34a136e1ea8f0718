import type { DescService } from "@bufbuild/protobuf";
import { varyByEncoding } from "#src/pipeline/compression.ts";
import { send, type Lane } from "#src/pipeline/lane.ts";
import type { HttpFailure } from "#src/platform/http-failure.ts";
import { targetOf, type Handler, type Request, type Response } from "#src/platform/http.ts";
import { restRoutes } from "./binding.ts";
import { failureAnswer, restCodec } from "./codec.ts";
import { createRouter } from "./router.ts";

/** What the REST side needs of the service around it. */
export interface RestOptions {
  readonly contracts: readonly DescService[];
  /** Gate, body and handler of one call. */
  readonly lane: Lane;
  /** What a caller may see of anything thrown. */
  readonly failureOf: (thrown: unknown, request: Request) => HttpFailure;
}

/** Makes the handler that answers REST requests. Throws if the services' routes have faults. */
export function createRestHandler(options: RestOptions): Handler {
  const findRoute = createRouter(restRoutes(options.contracts));

  function routeOf(request: Request) {
    const { path, query } = targetOf(request);
    return { route: findRoute(request.method ?? "", path), query };
  }

  async function handle(request: Request, response: Response): Promise<void> {
    let found: ReturnType<typeof routeOf>;
    try {
      found = routeOf(request);
    } catch (error) {
      return send(request, response, failureAnswer(options.failureOf(error, request), {}));
    }
    const { route, query } = found;
    varyByEncoding(response);
    await options.lane(route.binding.method, restCodec(route, query, options.failureOf), request, response);
  }

  return (request, response) => {
    handle(request, response).catch((error: unknown) => {
      // A failure that could not be sent. Unhandled, it would end the process, and with it the calls of all others.
      options.failureOf(error, request);
      response.destroy();
    });
  };
}
