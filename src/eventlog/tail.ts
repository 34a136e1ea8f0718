import { LRUCache } from "lru-cache";
import { orEnd } from "#src/platform/or-end.ts";
import type { LoggedEvent } from "./event.ts";
import type { Lookout } from "./lookout.ts";
import type { Found, Reader } from "./reader.ts";
import type { Stretch } from "./store.ts";

/** Reads the ends of logs once for all of this process that read there. */
export interface Tail {
  /** Events in their order, as `read` of the log; what others have just read is not read again. */
  read(orgId: string, log: string, stretch: Stretch): Promise<readonly LoggedEvent[]>;
  /**
   * Batches of what is behind the number, and of what comes, until the signal aborts. Whoever is slow to ask for the next
   * one holds up no other. Throws what `read` throws.
   */
  follow(
    orgId: string,
    log: string,
    after: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly LoggedEvent[], void, undefined>;
  /** Forgets what was read of the log: it ended, or keeps for another time. Undefined stands for all logs. */
  forget(name?: string): void;
}

const page = { limit: 256, maxBytes: 512 * 1024 };
/** A window holds at least what is read at once. */
const windowEvents = 1_024;
const windowBytes = 2 * 1024 * 1024;
const allBytes = 32 * 1024 * 1024;
const windowMs = 30_000;
/** What an event takes beside its data, about. */
const eventBytes = 1_024;

/** The end of a log, as far as it was read; without gaps. */
interface Window {
  readonly events: LoggedEvent[];
  bytes: number;
  /** The number of its last event, or where it began if it has none. */
  end: number;
  keptMs: number | undefined;
  extending: Promise<void> | undefined;
}

export function createTail(parts: { reader: Reader; lookout: Lookout; now: () => Date }): Tail {
  const { reader, lookout, now } = parts;
  const windows = new LRUCache<string, Window>({
    ...{ maxSize: allBytes, ttl: windowMs },
    sizeCalculation: ({ bytes }) => eventBytes + bytes,
  });
  /** Who reads the same older part at the same time reads it together. */
  const readingBehind = new Map<string, Promise<Found>>();

  function windowFrom(name: string, after: number): Window {
    const known = windows.get(name);
    // One who is ahead of it comes from elsewhere: what lies between was of no interest here.
    if (known !== undefined && after <= known.end) return known;
    const made: Window = { events: [], bytes: 0, end: after, keptMs: undefined, extending: undefined };
    windows.set(name, made);
    return made;
  }

  async function extend(orgId: string, log: string, window: Window): Promise<void> {
    const { events, keptMs } = await reader.read(orgId, log, { after: window.end, ...page });
    window.keptMs = keptMs;
    for (const event of events) {
      window.events.push(event);
      window.bytes += sizeOf(event);
      window.end = event.seq;
    }
    let over = 0;
    while (window.events.length - over > windowEvents || window.bytes > windowBytes) {
      const first = window.events[over];
      if (first === undefined || over === window.events.length - 1) break;
      window.bytes -= sizeOf(first);
      over += 1;
    }
    window.events.splice(0, over);
    const name = nameOf(orgId, log);
    // It may have been forgotten meanwhile.
    if (windows.peek(name) !== window) return;
    // Set again as it is, it would count for what it took before.
    windows.delete(name);
    windows.set(name, window);
  }

  /** What the window has behind the number; undefined if it begins later. */
  function heldIn(window: Window, { after, limit, maxBytes }: Stretch): readonly LoggedEvent[] | undefined {
    const start = after - (window.end - window.events.length);
    if (start < 0) return undefined;
    const first = window.events[start];
    if (first === undefined) return [];
    const isOver =
      window.keptMs !== undefined && first.receivedAt.getTime() + window.keptMs <= now().getTime();
    if (isOver) return undefined;
    const held: LoggedEvent[] = [];
    let bytes = 0;
    for (const event of window.events.slice(start, start + limit)) {
      if (held.length > 0 && bytes >= maxBytes) break;
      held.push(event);
      bytes += event.data?.length ?? 0;
    }
    return held;
  }

  function readBehind(orgId: string, log: string, stretch: Stretch): Promise<Found> {
    const { after, limit, maxBytes } = stretch;
    const name = [orgId, log, after, limit, maxBytes].join("/");
    const reading =
      readingBehind.get(name) ??
      reader.read(orgId, log, stretch).finally(() => void readingBehind.delete(name));
    readingBehind.set(name, reading);
    return reading;
  }

  async function read(orgId: string, log: string, stretch: Stretch): Promise<readonly LoggedEvent[]> {
    const window = windowFrom(nameOf(orgId, log), stretch.after);
    // One that is on its way may have begun before the latest event was there: if it finds nothing, another begins.
    for (const isFresh of [false, true]) {
      const held = heldIn(window, stretch);
      if (held === undefined) return (await readBehind(orgId, log, stretch)).events;
      if (held.length > 0) return held;
      if (!isFresh && window.extending === undefined) continue;
      window.extending ??= extend(orgId, log, window).finally(() => (window.extending = undefined));
      await window.extending;
    }
    return heldIn(window, stretch) ?? (await readBehind(orgId, log, stretch)).events;
  }

  return {
    read,
    async *follow(orgId, log, after, signal) {
      let position = after;
      using watch = lookout.watch(orgId, log, () => position);
      while (!signal.aborted) {
        // Asked for before the read: what comes during it must not be slept through.
        const moved = watch.moved();
        const events = await read(orgId, log, { after: position, ...page });
        const last = events.at(-1);
        if (last === undefined) {
          await orEnd(signal, () => moved).catch(() => {});
          continue;
        }
        position = last.seq;
        yield events;
      }
    },
    forget(name) {
      if (name === undefined) windows.clear();
      else windows.delete(name);
    },
  };
}

function nameOf(orgId: string, log: string): string {
  return `${orgId}/${log}`;
}

function sizeOf({ data, id, source, type, extensions }: LoggedEvent): number {
  const texts = id.length + source.length + type.length + Object.values(extensions).join("").length;
  return eventBytes + texts + (data?.length ?? 0);
}
