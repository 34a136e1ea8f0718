import { requirePermitted, requireUsable } from "#src/connections/access.ts";
import type { Connections } from "#src/connections/connections.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { onceClosed } from "#src/platform/http.ts";
import type { RawExchange, RawRoute } from "#src/platform/raw-route.ts";
import { callHeaders, sourceHeader } from "../call-headers.ts";
import type { Reflections } from "../reflections.ts";
import { createAttempts, type Begun } from "./attempts.ts";
import { callerNow } from "./caller-now.ts";
import { UpgradeRefused } from "./errors.ts";
import { answerHeadersOf, asksForWebSocket } from "./heads.ts";
import { passOn } from "./pass-on.ts";
import { isProxyPath } from "./target.ts";
import { uploadOf } from "./upload.ts";

/** What the buffers of one stream hold at most, in both directions. */
const streamBytes = 128 * 1024;
/** How often a stream makes sure that its key is still good. */
const recheckMs = 5_000;

/** Passes requests on through a connection, with a credential that the caller never sees, while both bodies stream. */
export function createProxy(parts: {
  connections: Pick<Connections, "open" | "another" | "use">;
  outbound: Pick<Outbound, "stream">;
  reflections: Pick<Reflections, "note">;
  now: () => Date;
}): RawRoute {
  const call = createAttempts(parts);

  return {
    name: "Proxy",
    scope: "connections:use",
    hasForeignQuery: true,
    headers: { [sourceHeader]: "patchbay" },
    matches: isProxyPath,

    async serve(exchange) {
      const { request, response } = exchange;
      if (asksForWebSocket(request.headers)) throw new UpgradeRefused();
      exchange.call.holding?.grow(streamBytes);
      const upload = await uploadOf(exchange);
      // A client may take minutes to send a body: a key that was revoked meanwhile is no good.
      if (!exchange.hasNoBody) await exchange.call.recheck?.();
      const begun = await call(exchange, upload);
      const { reply, attempts } = begun;
      const headers = {
        ...exchange.head,
        ...answerHeadersOf(reply.status, reply.headers, response),
        ...closingHead(exchange),
        ...Object.fromEntries(callHeaders("upstream", attempts)),
      };
      recheckUntilClosed(exchange, begun);
      await passOn(reply, headers, response);
    },
  };
}

/** On HTTP/1.1, an answer that begins before the request has ended is the last one of its connection. */
function closingHead({ request, hasNoBody }: RawExchange): Record<string, string> {
  return request.httpVersionMajor === 1 && !hasNoBody && !request.complete ? { connection: "close" } : {};
}

/** A stream may go on for days, and its key may be revoked, or lose its rights to the connection. */
function recheckUntilClosed(exchange: RawExchange, { reply, connection, intended }: Begun): void {
  const recheckAll = async () => {
    await exchange.call.recheck?.();
    const caller = callerNow(exchange);
    requirePermitted(caller, requireUsable(caller, connection), intended);
  };
  const timer = setInterval(() => {
    recheckAll().catch((refused: Error) => reply.body.destroy(refused));
  }, recheckMs);
  onceClosed(exchange.response, () => clearInterval(timer));
}
