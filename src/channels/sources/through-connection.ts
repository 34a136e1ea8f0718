import type { Connections, OpenConnection } from "#src/connections/connections.ts";
import type { Outbound, OutboundReply } from "#src/outbound/outbound.ts";
import type { QueryPair } from "#src/outbound/path.ts";
import type { StreamReply } from "#src/outbound/streamed-answer.ts";
import type { Holding } from "#src/platform/byte-budget.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { ClaimedSource } from "./source.ts";

/** Only a person can help: the source is not read again until one resumes it. */
export class SourceBlocked extends Error {}

/** Asks the source's service for something, with the connection's credential. */
export type Ask = (asked: {
  readonly path: string;
  readonly query: readonly QueryPair[];
  readonly headers: Readonly<Record<string, string>>;
}) => Promise<OutboundReply>;

/** Opens a stream of the source's service, with the connection's credential. */
export type OpenStream = (asked: {
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly idleMs: number;
}) => Promise<StreamReply>;

/** The source's service, as it is reached through the connection. */
export interface SourceService extends Disposable {
  readonly ask: Ask;
  readonly openStream: OpenStream;
}

const askTimeoutMs = 30_000;

/** Opens the connection that a source is read through. Throws SourceBlocked if there is none. */
export async function openSourceService(
  parts: {
    connections: Pick<Connections, "openUnattended" | "another" | "use">;
    outbound: Pick<Outbound, "send" | "stream">;
    environment: Environment;
    holding: Pick<Holding, "grow">;
    now: () => Date;
  },
  { orgId, connectionId }: ClaimedSource,
  signal: AbortSignal,
): Promise<SourceService> {
  const { connections, outbound, environment, holding, now } = parts;
  const found = await connections.openUnattended({ orgId, environment }, connectionId);
  if (found === undefined) {
    throw new SourceBlocked(
      "its connection is gone, belongs to one user, or has no credential; give the channel another one",
    );
  }
  let opened: OpenConnection = found;

  /** Asks; after a 401 once more, with a renewed credential. */
  async function withCredential<Reply extends { readonly status: number }>(
    askWith: (opened: OpenConnection) => Promise<Reply>,
    discard: (reply: Reply) => void,
  ): Promise<Reply> {
    const first = await askWith(opened);
    if (first.status !== 401) return first;
    discard(first);
    const other = await connections.another(opened);
    if (other !== undefined) {
      opened.credential[Symbol.dispose]();
      opened = other;
      const second = await askWith(opened);
      if (second.status !== 401) return second;
      discard(second);
    }
    throw new SourceBlocked(
      "the service does not accept the connection's credential (401); renew it, then resume the channel",
    );
  }

  return {
    ask: (asked) =>
      withCredential(
        ({ connection, credential }) =>
          outbound.send({
            ...{
              share: orgId,
              lane: "polls",
              baseUrl: connection.baseUrl,
              method: "GET",
              credential,
              signal,
            },
            ...asked,
            headers: { accept: "application/json", ...asked.headers },
            timeoutMs: askTimeoutMs,
            hold: (bytes) => holding.grow(bytes),
            onSent: () => connections.use.noteCall(connection, now()),
          }),
        () => {},
      ),
    openStream: (asked) =>
      withCredential(
        ({ connection, credential }) =>
          outbound.stream({
            ...{
              share: orgId,
              lane: "sources",
              baseUrl: connection.baseUrl,
              method: "GET",
              credential,
              signal,
            },
            ...asked,
            headers: { accept: "text/event-stream", "cache-control": "no-cache", ...asked.headers },
            onSent: () => connections.use.noteCall(connection, now()),
          }),
        (reply) => reply.body.destroy(),
      ),
    [Symbol.dispose]: () => opened.credential[Symbol.dispose](),
  };
}
