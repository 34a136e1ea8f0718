import type { Connections, IntendedCall, OpenConnection } from "#src/connections/connections.ts";
import { CredentialReflected } from "#src/outbound/errors.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { StreamReply } from "#src/outbound/streamed-answer.ts";
import { headerOf } from "#src/platform/http.ts";
import type { RawExchange } from "#src/platform/raw-route.ts";
import type { Reflections } from "../reflections.ts";
import { pause, waitBeforeRetry } from "../retry.ts";
import { callerNow } from "./caller-now.ts";
import { requestHeadersOf } from "./heads.ts";
import { proxyTargetOf } from "./target.ts";
import type { Upload } from "./upload.ts";

/** A call whose answer has begun. */
export interface Begun {
  readonly reply: StreamReply;
  readonly attempts: number;
  readonly connection: OpenConnection["connection"];
  readonly intended: IntendedCall;
}

/**
 * Calls the service, and once more where that may help: with another credential after a 401, or after a 503 that may be
 * over. Other failures are the caller's to try again, which an SDK does by itself.
 */
export type Attempts = (exchange: RawExchange, upload: Upload) => Promise<Begun>;

export function createAttempts(parts: {
  connections: Pick<Connections, "open" | "another" | "use">;
  outbound: Pick<Outbound, "stream">;
  reflections: Pick<Reflections, "note">;
  now: () => Date;
}): Attempts {
  const { connections, outbound, reflections, now } = parts;
  const { use } = connections;

  async function attempt(
    { connection, credential }: OpenConnection,
    { request, call, signal }: RawExchange,
    { body, length }: Upload,
  ): Promise<StreamReply> {
    const { orgId, id, baseUrl } = connection;
    const noteReflected = (error: unknown): void => {
      if (error instanceof CredentialReflected) reflections.note(call, id, error);
    };
    const { path, query } = proxyTargetOf(request);
    try {
      const reply = await outbound.stream({
        share: orgId,
        baseUrl,
        method: methodOf(request),
        path,
        query,
        headers: requestHeadersOf(request),
        acceptEncoding: headerOf(request, "accept-encoding"),
        body,
        bodyLength: length,
        credential,
        onSent: () => use.noteCall(connection, now()),
        signal,
      });
      reply.body.on("error", noteReflected);
      return reply;
    } catch (error) {
      noteReflected(error);
      throw error;
    }
  }

  /** The second answer, if there is a second call to make. */
  async function again(
    first: StreamReply | CredentialReflected,
    opened: OpenConnection,
    exchange: RawExchange,
    upload: Upload,
  ): Promise<StreamReply | undefined> {
    if (first.status === 401) {
      const other = await connections.another(opened);
      if (other === undefined) return undefined;
      using _wiped = other.credential;
      discard(first);
      return await attempt(other, exchange, upload);
    }
    const waitMs = first.status === 503 ? waitAfter(first, exchange, upload) : undefined;
    if (waitMs === undefined) return undefined;
    discard(first);
    await pause(waitMs, exchange.signal);
    return await attempt(opened, exchange, upload);
  }

  function waitAfter(
    first: StreamReply | CredentialReflected,
    { request }: RawExchange,
    { body }: Upload,
  ): number | undefined {
    if ("reason" in first) return undefined;
    const call = { method: methodOf(request), headers: requestHeadersOf(request), body: wholeOf(body) };
    const reply = { status: first.status, headers: Object.fromEntries(first.headers) };
    return waitBeforeRetry(
      call,
      { reply },
      { retries: 0, msLeft: Infinity, now: now(), random: Math.random },
    );
  }

  return async (exchange, upload) => {
    const { request } = exchange;
    const { ref, path } = proxyTargetOf(request);
    const intended = { method: methodOf(request), path };
    const opened = await connections.open(callerNow(exchange), ref, intended);
    using _wiped = opened.credential;
    const { connection } = opened;
    const first = await attempt(opened, exchange, upload).catch(unlessReflected);
    // What was streamed is gone.
    const isRepeatable = upload.body === undefined || Buffer.isBuffer(upload.body);
    const second = isRepeatable ? await again(first, opened, exchange, upload) : undefined;
    const reply = second ?? first;
    if ("reason" in reply) throw reply;
    use.noteAnswer(connection, reply.status, now());
    return { reply, attempts: second === undefined ? 1 : 2, connection, intended };
  };
}

/** Some services say that they do not know the credential with the credential in the text. */
function unlessReflected(error: unknown): CredentialReflected {
  if (error instanceof CredentialReflected) return error;
  throw error;
}

function discard(answer: StreamReply | CredentialReflected): void {
  if ("body" in answer) answer.body.destroy();
}

function methodOf({ method = "" }: RawExchange["request"]): string {
  return method;
}

function wholeOf(body: Upload["body"]): Buffer | undefined {
  return Buffer.isBuffer(body) ? body : undefined;
}
