import type { Connections, OpenConnection } from "#src/connections/connections.ts";
import { defaultLimits } from "#src/outbound/limits.ts";
import { CredentialReflected } from "#src/outbound/errors.ts";
import type { Outbound, OutboundReply, OutboundRequest } from "#src/outbound/outbound.ts";
import type { Caller } from "#src/platform/caller.ts";
import type { Reflections } from "./reflections.ts";
import { hasRepeatableBody, pause, waitBeforeRetry, type Outcome, type Repeatable } from "./retry.ts";

/** A call through a connection, as its caller describes it. */
export interface ThroughRequest
  extends
    Repeatable,
    Pick<OutboundRequest, "path" | "query" | "timeoutMs" | "hold" | "signal" | "maxAnswerBytes"> {
  /** Of the request that the call is made for. */
  readonly requestId: string;
  /** Called before each try, with its number. */
  readonly onTry?: (attempts: number) => void;
}

/** What came of it. */
export interface ThroughReply {
  readonly reply: OutboundReply;
  readonly attempts: number;
}

/** Makes a call through the connection that has the slug or the id, and tries again where that may help. */
export type Through = (caller: Caller, ref: string, request: ThroughRequest) => Promise<ThroughReply>;

type Tried = Outcome<OutboundReply>;

/** A call over all of its tries. */
interface Course {
  readonly caller: Caller;
  readonly request: ThroughRequest;
  readonly msLeft: () => number;
  attempts: number;
  retries: number;
  /** Whether any try reached the service. */
  isNoted: boolean;
}

/** Creates the one way in which calls are made with a connection's credential, buffered in both directions. */
export function createThrough(parts: {
  connections: Pick<Connections, "open" | "another" | "use">;
  outbound: Pick<Outbound, "send">;
  reflections: Pick<Reflections, "note">;
  now: () => Date;
}): Through {
  const { connections, outbound, reflections, now } = parts;
  const { use } = connections;

  /** One try. A failure is an outcome as well. */
  async function tryOnce({ connection, credential }: OpenConnection, course: Course): Promise<Tried> {
    const { caller, request } = course;
    let sent = false;
    request.onTry?.(++course.attempts);
    const sending = outbound.send({
      share: connection.orgId,
      baseUrl: connection.baseUrl,
      method: request.method,
      path: request.path,
      query: request.query ?? [],
      headers: request.headers,
      ...(request.body && { body: request.body }),
      credential,
      onSent() {
        sent = true;
        if (!course.isNoted) use.noteCall(connection, now());
        course.isNoted = true;
      },
      ...(request.signal && { signal: request.signal }),
      ...(request.hold && { hold: request.hold }),
      ...(request.maxAnswerBytes && { maxAnswerBytes: request.maxAnswerBytes }),
      timeoutMs: Math.ceil(course.msLeft()),
    });
    try {
      return { reply: await sending };
    } catch (error) {
      if (error instanceof CredentialReflected) {
        reflections.note({ caller, requestId: request.requestId }, connection.id, error);
      }
      return { error, sent };
    }
  }

  /** Tries until the outcome stands. */
  async function tryOften(opened: OpenConnection, course: Course): Promise<Tried> {
    for (;;) {
      const outcome = await tryOnce(opened, course);
      const { request, retries } = course;
      const left = { retries, msLeft: course.msLeft(), now: now(), random: Math.random };
      const waitMs = waitBeforeRetry(request, outcome, left);
      if (waitMs === undefined) return outcome;
      course.retries++;
      await pause(waitMs, request.signal);
    }
  }

  async function withAnother(opened: OpenConnection, course: Course): Promise<Tried | undefined> {
    const other = await connections.another(opened);
    if (other === undefined) return undefined;
    using _wiped = other.credential;
    return course.msLeft() > 0 ? await tryOften(other, course) : undefined;
  }

  return async (caller, ref, request) => {
    const endsAt = performance.now() + Math.min(request.timeoutMs ?? Infinity, defaultLimits.totalMs);
    const msLeft = () => endsAt - performance.now();
    const course: Course = { caller, request, msLeft, attempts: 0, retries: 0, isNoted: false };
    const opened = await connections.open(caller, ref, request);
    using _wiped = opened.credential;
    const first = await tryOften(opened, course);
    const second =
      isRefused(first) && hasRepeatableBody(request) ? await withAnother(opened, course) : undefined;
    const outcome = second ?? first;
    if ("error" in outcome) throw outcome.error;
    const { reply } = outcome;
    use.noteAnswer(opened.connection, reply.status, now());
    return { reply, attempts: course.attempts };
  };
}

/**
 * Whether the service does not know the credential. Whatever the method: then it has not done what it was asked. Some
 * say so with the credential in the text.
 */
function isRefused(outcome: Tried): boolean {
  if ("reply" in outcome) return outcome.reply.status === 401;
  return outcome.error instanceof CredentialReflected && outcome.error.status === 401;
}
