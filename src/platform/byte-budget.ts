import { ServiceError } from "./errors.ts";
import { Members } from "./members.ts";
import { createTally } from "./tally.ts";

/** What calls may hold in memory: requests, answers of other services, and answers that wait for their callers. */
export interface ByteBudget {
  /** What one call will hold. Its owner, an organisation, must be known with the first bytes. */
  open(ownerOf: () => string): Holding;
  load(): BudgetLoad;
}

/** How full a budget is. */
export interface BudgetLoad {
  readonly bytes: number;
  readonly totalBytes: number;
  /** Answers that were cut because their callers did not read them, since the start. */
  readonly cut: number;
}

/** The bytes that one call holds. */
export interface Holding {
  /** Takes more bytes, before they are held. Throws `Overloaded` if there is no room and none can be made. */
  grow(bytes: number): void;
  /**
   * Takes these bytes in place of all that were taken before, for an answer of that length. Never refused: the answer
   * is there, and may tell of a change that was made. Without room, answers that wait are cut as `grow` does it.
   */
  become(bytes: number): void;
  /**
   * From now on the bytes only wait for the caller to read them. `cut` ends the call: it is called when others need
   * the room, if no answer of the owner has waited longer.
   */
  waitForReader(cut: () => void): void;
  /** Gives all of it back. */
  release(): void;
}

/** There is no room for what the call would hold. */
export class Overloaded extends ServiceError {
  readonly kind = "resource_exhausted";
  readonly reason = "OVERLOADED";

  readonly whose: "organisation" | "service";

  constructor(whose: Overloaded["whose"], upstreamStatus?: number) {
    super(
      upstreamStatus === undefined
        ? `${noRoom[whose]}; try again in a moment`
        : `${noRoom[whose]}; the called service answered with status ${upstreamStatus}, so the call was made`,
      upstreamStatus === undefined
        ? { headers: { "retry-after": "1" }, metadata: { budget: whose } }
        : { metadata: { budget: whose, upstream_status: String(upstreamStatus) } },
    );
    this.whose = whose;
  }

  /**
   * The same for a call that the other service had answered already, so that it took effect there and must not be
   * repeated by rote.
   */
  afterAnswer(status: number | undefined): Overloaded {
    return status === undefined ? this : new Overloaded(this.whose, status);
  }
}

const noRoom = {
  organisation:
    "your organisation has too many bytes on their way at once; read the answers of other calls, or make fewer at once",
  service: "the service has too many bytes on their way at once",
};

/** An answer must have waited this long before its caller counts as one that does not read. */
const patienceMs = 1_000;

interface Held {
  owner: string;
  bytes: number;
  /** Since when it waits for its reader. */
  waitingSince: number;
  cut: () => void;
  /** Ends its waiting, if it waits. */
  read: () => void;
}

const nothing = () => undefined;

/** A budget of `totalBytes`, of which one owner has at most half, so that none can use up all of it. */
export function createByteBudget(totalBytes: number, monotonicNow: () => number): ByteBudget {
  const bytesOf = createTally();
  /** In the order in which they began to wait. */
  const waiting = new Members<Held>();
  let total = 0;
  let cuts = 0;

  function add(held: Held, bytes: number): void {
    held.bytes += bytes;
    total += bytes;
    bytesOf.add(held.owner, bytes);
  }

  function end(held: Held): void {
    held.read();
    add(held, -held.bytes);
  }

  /** Ends the owner's call that waits longest for its reader; false if none has waited long enough. */
  function cutLongest(owner: string): boolean {
    const latest = monotonicNow() - patienceMs;
    for (const held of waiting) {
      if (held.owner !== owner || held.waitingSince > latest) continue;
      end(held);
      held.cut();
      cuts += 1;
      return true;
    }
    return false;
  }

  function greediest(): string {
    const [owner] = [...bytesOf.entries()].reduce((most, one) => (one[1] > most[1] ? one : most), ["", 0]);
    return owner;
  }

  /** Cuts answers until the bytes find room; returns why there is none if that was not enough. */
  function makeRoom(owner: string, bytes: number): Overloaded | undefined {
    while (bytesOf.of(owner) + bytes > totalBytes / 2) {
      if (!cutLongest(owner)) return new Overloaded("organisation");
    }
    while (total + bytes > totalBytes) {
      if (!cutLongest(greediest())) return new Overloaded("service");
    }
    return undefined;
  }

  return {
    load: () => ({ bytes: total, totalBytes, cut: cuts }),
    open(ownerOf) {
      let held: Held | undefined;
      let isOver = false;
      const begin = (): Held => ({
        owner: ownerOf(),
        bytes: 0,
        waitingSince: 0,
        cut: nothing,
        read: nothing,
      });
      return {
        grow(bytes) {
          if (isOver) return;
          held ??= begin();
          const refusal = makeRoom(held.owner, bytes);
          if (refusal !== undefined) throw refusal;
          add(held, bytes);
        },
        become(bytes) {
          if (isOver) return;
          held ??= begin();
          // What waited until now was read.
          held.read();
          makeRoom(held.owner, bytes - held.bytes);
          add(held, bytes - held.bytes);
        },
        waitForReader(cut) {
          if (held === undefined || isOver) return;
          held.waitingSince = monotonicNow();
          held.cut = cut;
          held.read = waiting.add(held);
        },
        release() {
          isOver = true;
          if (held !== undefined) end(held);
        },
      };
    },
  };
}
