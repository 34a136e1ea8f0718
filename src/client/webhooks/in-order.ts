import type { Event } from "#gen/patchbay/events/v1/event_pb.js";
import type { Delivery } from "./delivery.ts";
import { EventsLost, type Lost, type Missed } from "./missed.ts";
import type { PositionStore } from "./positions.ts";

/** Called for each event, once and in the order of its log. If it throws, the event comes again. */
export type OnEvent<Tx> = (event: Event, tx: Tx) => void | Promise<void>;

/** What handing over needs. */
export interface InOrderParts<Tx> {
  readonly positions: PositionStore<Tx>;
  readonly onEvent: OnEvent<Tx>;
  readonly onLost?: (lost: Lost, tx: Tx) => void | Promise<void>;
  readonly missed: Missed;
  readonly startWaitMs: number;
}

/** A delivery that waits for its turn. */
interface Waiting {
  readonly delivery: Delivery;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Takes deliveries in any order, and hands their events over in the order of their log, with those that were missed. */
export class InOrder<Tx> {
  readonly #parts: InOrderParts<Tx>;
  /** By log, while there are any. */
  readonly #waiting = new Map<string, Waiting[]>();
  /** By log, while the start of its chain is waited for: what ends that. */
  readonly #awaitingStart = new Map<string, () => void>();

  constructor(parts: InOrderParts<Tx>) {
    this.#parts = parts;
  }

  /** Comes back when the event was handed over, now or earlier. */
  take(delivery: Delivery): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(delivery.log);
      const one = { delivery, resolve, reject };
      if (waiting !== undefined) {
        waiting.push(one);
        if (delivery.previous === undefined) this.#awaitingStart.get(delivery.log)?.();
        return;
      }
      this.#waiting.set(delivery.log, [one]);
      void this.#drain(delivery.log);
    });
  }

  async #drain(log: string): Promise<void> {
    const waiting = this.#waiting.get(log) ?? [];
    await this.#waitForStart(log, waiting);
    for (;;) {
      // What came out of order in the meantime needs no fetching.
      const next = waiting.sort((one, other) => one.delivery.seq - other.delivery.seq).shift();
      if (next === undefined) break;
      await this.#handOver(next.delivery).then(next.resolve, next.reject);
    }
    this.#waiting.delete(log);
  }

  /**
   * Where nothing is known of a log, the first to come may not be the first that was sent: the others are on their way.
   * All that was never acknowledged comes again within this time, so that nothing lies before the first of them.
   */
  async #waitForStart(log: string, waiting: readonly Waiting[]): Promise<void> {
    const { positions, startWaitMs } = this.#parts;
    const position = await positions.read(log).catch(() => undefined);
    const hasStart = waiting.some(({ delivery }) => delivery.previous === undefined);
    if (position !== undefined || hasStart) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, startWaitMs);
      this.#awaitingStart.set(log, () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#awaitingStart.delete(log);
  }

  async #handOver({ event, log, seq, previous, isAskedForAgain }: Delivery): Promise<void> {
    for (;;) {
      const position = await this.#parts.positions.read(log);
      if (position !== undefined && seq <= position) {
        if (!isAskedForAgain || (await this.#advance(event, position, position))) return;
      } else if (position !== undefined && previous !== undefined && previous > position) {
        await this.#handOverMissed(log, position, previous);
      } else if (await this.#advance(event, position, seq)) {
        return;
      }
    }
  }

  /** Ends early where another process was faster: whoever asks looks at the position again. */
  async #handOverMissed(log: string, after: number, upTo: number): Promise<void> {
    const { missed, onLost, positions } = this.#parts;
    let position = after;
    try {
      for await (const event of missed.between(log, after, upTo)) {
        const seq = Number(event.seq);
        if (!(await this.#advance(event, position, seq))) return;
        position = seq;
      }
    } catch (error) {
      if (!(error instanceof EventsLost) || onLost === undefined) throw error;
      const { lost } = error;
      const next = Math.min(lost.earliest - 1, upTo);
      await positions.advance(log, position, next, async (tx) => onLost(lost, tx));
    }
  }

  #advance(event: Event, from: number | undefined, to: number): Promise<boolean> {
    const { positions, onEvent } = this.#parts;
    return positions.advance(event.log, from, to, async (tx) => onEvent(event, tx));
  }
}
