import { InvalidRequest, ServiceError } from "#src/platform/errors.ts";
import { headerOf, targetOf } from "#src/platform/http.ts";
import { httpFailureOf } from "#src/platform/http-failure.ts";
import { pacedWriter } from "#src/platform/paced-writer.ts";
import type { RawRoute } from "#src/platform/raw-route.ts";
import { heartbeat, lastWords, serverSent } from "./server-sent.ts";
import { readStreamRequest } from "./stream-request.ts";
import type { Subscriptions } from "./subscriptions.ts";

const path = "/api/events/stream";

/** Sends events as server-sent ones, for browsers and whatever has no gRPC. */
export function createEventStream(parts: {
  subscriptions: Subscriptions;
  monotonicNow: () => number;
}): RawRoute {
  const { subscriptions, monotonicNow } = parts;
  return {
    name: "EventStream",
    scope: "events:view",
    hasForeignQuery: false,
    headers: {},
    matches: (asked) => asked === path,

    async serve(exchange) {
      const { request, call, caller, signal } = exchange;
      if (request.method !== "GET") throw new InvalidRequest(`${path} takes GET only`);
      const { query } = targetOf(request);
      const { starts, types } = readStreamRequest(query, headerOf(request, "last-event-id"));
      const reports = subscriptions.open({ call, caller, starts, types, signal });
      const headers = { "content-type": "text/event-stream", "x-accel-buffering": "no" };
      const write = pacedWriter(exchange, { headers, monotonicNow });
      try {
        for await (const { events, positions } of reports) {
          if (events.length === 0) await write(heartbeat(positions));
          for (const event of events) await write(await serverSent(event, positions));
        }
      } catch (thrown) {
        if (!exchange.response.headersSent || !(thrown instanceof ServiceError)) throw thrown;
        await write(lastWords(httpFailureOf(thrown)));
      }
      exchange.response.end();
    },
  };
}
