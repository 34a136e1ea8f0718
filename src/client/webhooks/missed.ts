import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Event } from "#gen/patchbay/events/v1/event_pb.js";
import { patchbayReason } from "#src/client/reason.ts";
import { wholeEvent } from "#src/client/whole-event.ts";

/** Reads events that did not come by themselves: `events` of a client of Patchbay, whose key has `events:view`. */
export interface EventReader {
  listEvents(request: {
    log: string;
    after: bigint;
    types: string[];
    withData: boolean;
  }): Promise<{ events: Event[]; position: bigint }>;
  /** For data that is too large for a list. */
  getEvent(request: { log: string; seq: bigint }): Promise<{ event?: Event | undefined }>;
}

/** Events that were missed and are no longer kept: those behind `after` and before `earliest`. */
export interface Lost {
  readonly log: string;
  readonly after: number;
  readonly earliest: number;
}

/** What was missed cannot be fetched any more. */
export class EventsLost extends Error {
  override readonly name = "EventsLost";
  readonly lost: Lost;

  constructor(lost: Lost, options?: ErrorOptions) {
    const { log, after, earliest } = lost;
    super(
      `events of ${log} behind ${after} and before ${earliest} were missed and are no longer kept; give onLost to go on without them`,
      options,
    );
    this.lost = lost;
  }
}

/** Fetches what did not come. */
export class Missed {
  readonly #events: EventReader;
  readonly #types: readonly string[];

  constructor(events: EventReader, types: readonly string[]) {
    this.#events = events;
    this.#types = types;
  }

  /** The events behind `after`, up to and with `upTo`, which is one that the endpoint was sent. */
  async *between(log: string, after: number, upTo: number): AsyncGenerator<Event, void> {
    let [read, last] = [after, after];
    while (read < upTo) {
      const page = await this.#pageBehind(log, read);
      for (const event of page.events) {
        if (event.seq > upTo) break;
        last = Number(event.seq);
        yield await wholeEvent(event, (named) => this.#events.getEvent(named));
      }
      if (page.position <= read) break;
      read = Number(page.position);
    }
    // Else it would count as handed over.
    if (last < upTo) {
      throw new Error(
        `${log}:${upTo} was sent and cannot be found; give the types of the endpoint, and a key that may see all of them`,
      );
    }
  }

  async #pageBehind(log: string, after: number) {
    try {
      return await this.#events.listEvents({
        ...{ log, after: BigInt(after), types: [...this.#types], withData: true },
      });
    } catch (error) {
      const earliest = earliestKept(error);
      if (earliest === undefined) throw error;
      throw new EventsLost({ log, after, earliest }, { cause: error });
    }
  }
}

function earliestKept(error: unknown): number | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const details = error.findDetails(ErrorInfoSchema);
  if (patchbayReason(details) !== "CURSOR_EXPIRED") return undefined;
  return details.map(({ metadata }) => Number(metadata["earliest"])).find(Number.isSafeInteger);
}
