import { requirePermitted, requireUsable } from "#src/connections/access.ts";
import type { Connections, IntendedCall } from "#src/connections/connections.ts";
import type { CallableConnection } from "#src/connections/store.ts";
import { CredentialReflected } from "#src/outbound/errors.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { StreamReply } from "#src/outbound/streamed-answer.ts";
import type { Caller } from "#src/platform/caller.ts";
import { headerOf, onceClosed } from "#src/platform/http.ts";
import type { RawExchange, RawRoute } from "#src/platform/raw-route.ts";
import type { Reflections } from "../reflections.ts";
import { UpgradeRefused } from "./errors.ts";
import {
  answerHeadersOf,
  asksForWebSocket,
  attemptsHeader,
  requestHeadersOf,
  sourceHeader,
} from "./heads.ts";
import { passOn } from "./pass-on.ts";
import { isProxyPath, proxyTargetOf } from "./target.ts";
import { uploadOf, type Upload } from "./upload.ts";

/** What the buffers of one stream hold at most, in both directions. */
const streamBytes = 128 * 1024;
/** How often a stream makes sure that its key is still good. */
const recheckMs = 5_000;

/** A call whose answer has begun. */
interface Begun {
  readonly reply: StreamReply;
  readonly connection: CallableConnection;
  readonly intended: IntendedCall;
}

/** Passes requests on through a connection, with a credential that the caller never sees, while both bodies stream. */
export function createProxy(parts: {
  connections: Pick<Connections, "open" | "use">;
  outbound: Pick<Outbound, "stream">;
  reflections: Reflections;
  now: () => Date;
}): RawRoute {
  const { connections, outbound, reflections, now } = parts;
  const { use } = connections;

  /** Calls the service, and answers once its answer has begun. */
  async function call(exchange: RawExchange, { body, length }: Upload): Promise<Begun> {
    const { request, signal } = exchange;
    const caller = callerNow(exchange);
    const { orgId } = caller;
    const { ref, path, query } = proxyTargetOf(request);
    const method = request.method ?? "";
    const { connection, credential } = await connections.open(caller, ref, { method, path });
    using _wiped = credential;
    const { id: connectionId, baseUrl } = connection;
    const noteReflected = (error: unknown): void => {
      if (error instanceof CredentialReflected) reflections.note(exchange.call, connectionId, error);
    };
    try {
      const reply = await outbound.stream({
        share: orgId,
        baseUrl,
        method,
        path,
        query,
        headers: requestHeadersOf(request),
        acceptEncoding: headerOf(request, "accept-encoding"),
        body,
        bodyLength: length,
        credential,
        onSent: () => use.noteCall(orgId, connectionId, now()),
        signal,
      });
      reply.body.on("error", noteReflected);
      const isGood = reply.status >= 200 && reply.status < 300;
      if (isGood) use.noteHealthy(orgId, { connectionId, baseUrl, at: now() });
      return { reply, connection, intended: { method, path } };
    } catch (error) {
      noteReflected(error);
      throw error;
    }
  }

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
      await exchange.call.recheck?.();
      const begun = await call(exchange, upload);
      const { reply } = begun;
      const headers = {
        ...exchange.head,
        ...answerHeadersOf(reply.status, reply.headers, response),
        ...closingHead(exchange),
        [sourceHeader]: "upstream",
        [attemptsHeader]: "1",
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

/** The caller as its key was when it was last looked at, which may be long after the gate let it in. */
function callerNow({ call, caller }: RawExchange): Caller {
  return call.caller ?? caller;
}
