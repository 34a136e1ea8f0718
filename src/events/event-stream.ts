import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { InvalidRequest, ServiceError } from "#src/platform/errors.ts";
import { cut, headerOf, targetOf } from "#src/platform/http.ts";
import { httpFailureOf } from "#src/platform/http-failure.ts";
import type { RawExchange, RawRoute } from "#src/platform/raw-route.ts";
import { patienceMs } from "#src/platform/taken-in-time.ts";
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
      const write = writerOf(exchange, monotonicNow);
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

const lookMs = 1_000;

/**
 * Writes no faster than the caller reads, and cuts one that does not read. The head goes out with the first bytes, so
 * that until then a refusal still can.
 */
function writerOf(
  { response, head, call, signal }: RawExchange,
  monotonicNow: () => number,
): (piece: Buffer | string) => Promise<void> {
  // Both modules' responses take these calls; only their types cannot be called as one.
  const out = response as ServerResponse;

  async function drained(): Promise<void> {
    const since = monotonicNow();
    const look = setInterval(() => {
      if (monotonicNow() - since > patienceMs) cut(response);
    }, lookMs);
    try {
      await once(out, "drain", { signal });
    } finally {
      clearInterval(look);
    }
  }

  return async (piece) => {
    if (!out.headersSent) {
      out.writeHead(200, { ...head, "content-type": "text/event-stream", "x-accel-buffering": "no" });
    }
    call.holding?.become(piece.length);
    call.holding?.waitForReader(() => cut(response));
    if (!out.write(piece)) await drained();
  };
}
