import type { LoggedEvent } from "#src/eventlog/event.ts";
import type { Tail } from "#src/eventlog/tail.ts";
import { orEnd } from "#src/platform/or-end.ts";

/** Events of one log in their order. */
export interface Batch {
  readonly log: string;
  readonly events: readonly LoggedEvent[];
  /** The number of its last event. */
  readonly end: number;
}

/** What comes in several logs, one batch of each at a time. */
export interface Feed {
  /** What has come; undefined if nothing has. Throws what ended the reading of a log. */
  next(): Batch | undefined;
}

/** Reads on behind the positions until the signal aborts, and says when something has come. */
export function createFeed(parts: {
  tail: Pick<Tail, "follow">;
  orgId: string;
  positions: ReadonlyMap<string, number>;
  signal: AbortSignal;
  arrived: () => void;
}): Feed {
  const { tail, orgId, positions, signal, arrived } = parts;
  const come: { readonly batch: Batch; readonly goOn: () => void }[] = [];
  let failure: { readonly thrown: unknown } | undefined;

  async function follow(log: string, after: number): Promise<void> {
    for await (const events of tail.follow(orgId, log, after, signal)) {
      const { promise, resolve: goOn } = Promise.withResolvers<void>();
      come.push({ batch: { log, events, end: events.at(-1)?.seq ?? after }, goOn });
      arrived();
      // The next one is read when this one is taken: a slow reader holds no more than that of each log. One that is
      // gone takes none, and its log must not be looked at for ever.
      await orEnd(signal, () => promise);
    }
  }

  for (const [log, after] of positions) {
    follow(log, after).catch((thrown: unknown) => {
      failure ??= { thrown };
      arrived();
    });
  }

  return {
    next() {
      if (failure !== undefined) throw failure.thrown;
      const first = come.shift();
      first?.goOn();
      return first?.batch;
    },
  };
}
