import type { Connections } from "#src/connections/connections.ts";
import { CredentialReflected } from "#src/outbound/errors.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { StreamReply } from "#src/outbound/streamed-answer.ts";
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
  async function call(exchange: RawExchange, { body, length }: Upload): Promise<StreamReply> {
    const { request, caller, signal } = exchange;
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
      return reply;
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
      const reply = await call(exchange, upload);
      const headers = {
        ...exchange.head,
        ...answerHeadersOf(reply.status, reply.headers, response),
        ...closingHead(exchange),
        [sourceHeader]: "upstream",
        [attemptsHeader]: "1",
      };
      recheckUntilClosed(exchange, reply);
      await passOn(reply, headers, response);
    },
  };
}

/** On HTTP/1.1, an answer that begins before the request has ended is the last one of its connection. */
function closingHead({ request, hasNoBody }: RawExchange): Record<string, string> {
  return request.httpVersionMajor === 1 && !hasNoBody && !request.complete ? { connection: "close" } : {};
}

/** A stream may go on for days, and its key may be revoked. */
function recheckUntilClosed({ call, response }: RawExchange, { body }: StreamReply): void {
  const { recheck } = call;
  if (recheck === undefined) return;
  const timer = setInterval(() => {
    recheck().catch((refused: Error) => body.destroy(refused));
  }, recheckMs);
  onceClosed(response, () => clearInterval(timer));
}
