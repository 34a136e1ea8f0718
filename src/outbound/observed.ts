import { ServiceError } from "#src/platform/errors.ts";
import type { Meter } from "#src/platform/meter.ts";
import type { Span, Tracing } from "#src/platform/tracing.ts";
import { isListed, type OutboundAllow } from "./allow.ts";
import { readBaseUrl } from "./base-url.ts";
import type { Outbound, OutboundRequest } from "./outbound.ts";

/** The same client, which counts its calls, and shows those that are made for a request in its trace. */
export function observedOutbound(
  outbound: Outbound,
  parts: { readonly allow: OutboundAllow; readonly meter: Meter; readonly tracing: Tracing | undefined },
): Outbound {
  const { allow, tracing } = parts;
  const observe = createObserve(parts);

  /**
   * The caller's headers, and those that let the called service go on with the trace: for hosts only that the
   * deployment's list names, since a trace shows strangers which of our calls belong together.
   */
  function headersWith(
    span: Span | undefined,
    { baseUrl, headers = {} }: Pick<OutboundRequest, "baseUrl" | "headers">,
    mayReplace: boolean,
  ): Readonly<Record<string, string>> {
    if (span === undefined || !isOwn(allow, baseUrl)) return headers;
    const given = Object.keys(headers).find((name) => name.toLowerCase() === "traceparent");
    if (given !== undefined && !mayReplace) return headers;
    return { ...headers, [given ?? "traceparent"]: span.traceparent };
  }

  return {
    ...outbound,
    send: (request) =>
      observe(request, (span) =>
        // What the call itself gives as a header is meant.
        outbound.send({ ...request, headers: headersWith(span, request, false) }),
      ),
    stream: (request) =>
      observe(request, (span) =>
        // What came with the request that is passed on names a span of which ours is a part.
        outbound.stream({ ...request, headers: headersWith(span, request, true) }),
      ),
    ...(tracing !== undefined && {
      openDialogue: (request) =>
        tracing.part("client", "gRPC", (span) => {
          span?.note({ "server.address": hostOf(request.baseUrl) });
          return outbound.openDialogue(request);
        }),
    }),
  };
}

type Observed = Pick<OutboundRequest, "baseUrl" | "method">;

function createObserve({ meter, tracing }: { meter: Meter; tracing: Tracing | undefined }) {
  const count = meter.counter({
    name: "patchbay_outbound_calls_total",
    help: "Calls to other services: the class of the status, or how far the call came.",
    labels: ["outcome"],
  });

  async function counted<T extends { readonly status: number }>(call: () => Promise<T>): Promise<T> {
    try {
      const reply = await call();
      count({ outcome: `${Math.floor(reply.status / 100)}xx` });
      return reply;
    } catch (error) {
      count({ outcome: stageOf(error) });
      throw error;
    }
  }

  return <T extends { readonly status: number }>(
    { baseUrl, method }: Observed,
    call: (span: Span | undefined) => Promise<T>,
  ): Promise<T> => {
    if (tracing === undefined) return counted(() => call(undefined));
    // Neither path nor query: they may hold what is secret.
    return tracing.part("client", /^[A-Z]{1,10}$/.test(method) ? method : "HTTP", (span) => {
      span?.note({ "server.address": hostOf(baseUrl) });
      return counted(async () => {
        const reply = await call(span);
        span?.note({ "http.response.status_code": reply.status });
        return reply;
      });
    });
  };
}

const stages = new Set(["QUEUE", "DNS", "TCP", "TLS", "HTTP"]);

/** How far a call came that failed, or that it was given up, or that it could not be made. */
function stageOf(error: unknown): string {
  if (!(error instanceof ServiceError)) return "given_up";
  const { stage } = error.metadata;
  return stage !== undefined && stages.has(stage) ? stage : "not_made";
}

function hostOf(baseUrl: string): string | undefined {
  return URL.parse(baseUrl)?.hostname.slice(0, 253);
}

function isOwn(allow: OutboundAllow, baseUrl: string): boolean {
  const { host, port } = readBaseUrl(baseUrl);
  return isListed(allow, host, port);
}
