import { setTimeout as passed } from "node:timers/promises";
import type { Connections, OpenConnection } from "#src/connections/connections.ts";
import { defaultLimits } from "#src/outbound/limits.ts";
import type { Outbound, OutboundReply, OutboundRequest } from "#src/outbound/outbound.ts";
import type { Caller } from "#src/platform/caller.ts";
import { hasRepeatableBody, waitBeforeRetry, type Outcome, type Repeatable } from "./retry.ts";

/** A call through a connection, as its caller describes it. */
export interface ThroughRequest
  extends Repeatable, Pick<OutboundRequest, "path" | "query" | "timeoutMs" | "hold" | "signal"> {
  /** Called before each try, with its number. */
  readonly onTry?: (attempts: number) => void;
}

/** What came of it. */
export interface ThroughReply {
  readonly reply: OutboundReply;
  readonly attempts: number;
  readonly connection: OpenConnection["connection"];
}

/** Makes a call through the connection that has the slug or the id, and tries again where that may help. */
export type Through = (caller: Caller, ref: string, request: ThroughRequest) => Promise<ThroughReply>;

/** How far a call is, over all of its tries. */
interface Progress {
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
  now: () => Date;
}): Through {
  const { connections, outbound, now } = parts;
  const { use } = connections;

  /** One try. A failure is an outcome as well. */
  async function tryOnce(
    { connection, credential }: OpenConnection,
    request: ThroughRequest,
    progress: Progress,
  ): Promise<Outcome<OutboundReply>> {
    let sent = false;
    request.onTry?.(++progress.attempts);
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
        if (!progress.isNoted) use.noteCall(connection.orgId, connection.id, now());
        progress.isNoted = true;
      },
      ...(request.signal && { signal: request.signal }),
      ...(request.hold && { hold: request.hold }),
      timeoutMs: Math.ceil(progress.msLeft()),
    });
    try {
      return { reply: await sending };
    } catch (error) {
      return { error, sent };
    }
  }

  /** Tries until the outcome stands. */
  async function tryOften(
    opened: OpenConnection,
    request: ThroughRequest,
    progress: Progress,
  ): Promise<OutboundReply> {
    for (;;) {
      const outcome = await tryOnce(opened, request, progress);
      const msLeft = progress.msLeft();
      const { retries } = progress;
      const waitMs = waitBeforeRetry(request, outcome, { retries, msLeft, now: now(), random: Math.random });
      if (waitMs !== undefined) {
        progress.retries++;
        await pause(waitMs, request.signal);
        continue;
      }
      if ("error" in outcome) throw outcome.error;
      return outcome.reply;
    }
  }

  function noteHealthy(
    { orgId, id: connectionId, baseUrl }: OpenConnection["connection"],
    status: number,
  ): void {
    if (status >= 200 && status < 300) use.noteHealthy(orgId, { connectionId, baseUrl, at: now() });
  }

  async function withAnother(opened: OpenConnection, request: ThroughRequest, progress: Progress) {
    const other = await connections.another(opened);
    if (other === undefined) return undefined;
    using _wiped = other.credential;
    return progress.msLeft() > 0 ? await tryOften(other, request, progress) : undefined;
  }

  return async (caller, ref, request) => {
    const endsAt = performance.now() + Math.min(request.timeoutMs ?? Infinity, defaultLimits.totalMs);
    const msLeft = () => endsAt - performance.now();
    const progress: Progress = { msLeft, attempts: 0, retries: 0, isNoted: false };
    const opened = await connections.open(caller, ref, request);
    using _wiped = opened.credential;
    const { connection } = opened;
    const first = await tryOften(opened, request, progress);
    // Whatever the method: a service that does not know its caller has not done what it was asked.
    const isRefused = first.status === 401 && hasRepeatableBody(request);
    const second = isRefused ? await withAnother(opened, request, progress) : undefined;
    const reply = second ?? first;
    noteHealthy(connection, reply.status);
    return { reply, attempts: progress.attempts, connection };
  };
}

/** Waits, unless the signal aborts; its reason is thrown then. */
async function pause(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await passed(waitMs, undefined, signal && { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
