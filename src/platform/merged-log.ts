import type { Log } from "./log.ts";

/**
 * Collects notes in memory, one for each name, and writes them together: a write for each call would cost more than the
 * call. Notes that are not written yet are lost when the process is killed; a shutdown writes them.
 *
 * It is only for display. Nothing may be decided by it: another replica holds notes that are not written yet, and so
 * does this one after a write that failed.
 */
export interface MergedLog<Note> {
  note(orgId: string, name: string, note: Note): void;
  /** Writes what was noted of one organisation until now, so that a read that follows shows it, unless the write fails. */
  flush(orgId: string): Promise<void>;
  /** Writes what is left and stops. */
  close(): Promise<void>;
}

const flushEveryMs = 10_000;

export function createMergedLog<Note>(parts: {
  /** What is noted, for the log. */
  of: string;
  merge: (known: Note, note: Note) => Note;
  write: (orgId: string, notes: ReadonlyMap<string, Note>) => Promise<void>;
  log: Log;
}): MergedLog<Note> {
  const { merge, write, log } = parts;
  const pending = new Map<string, Map<string, Note>>();
  /** The write of an organisation that is on its way, and the one that follows it. */
  const running = new Map<string, Promise<void>>();
  const following = new Map<string, Promise<void>>();

  function add(orgId: string, name: string, note: Note) {
    const notes = pending.get(orgId) ?? new Map<string, Note>();
    pending.set(orgId, notes);
    const known = notes.get(name);
    notes.set(name, known === undefined ? note : merge(known, note));
  }

  async function writePending(orgId: string) {
    const notes = pending.get(orgId);
    if (notes === undefined) return;
    pending.delete(orgId);
    try {
      await write(orgId, notes);
    } catch (error) {
      log.warn({ err: error, orgId }, `${parts.of} not recorded; it is tried again`);
      const since = pending.get(orgId);
      pending.set(orgId, notes);
      for (const [name, note] of since ?? []) add(orgId, name, note);
    }
  }

  function start(orgId: string): Promise<void> {
    const started = writePending(orgId).finally(() => running.delete(orgId));
    running.set(orgId, started);
    return started;
  }

  /** The write that is on its way may lack the latest notes, so all calls that ask meanwhile share the next one. */
  function follow(orgId: string, before: Promise<void>): Promise<void> {
    const started = before.then(() => {
      following.delete(orgId);
      return running.get(orgId) ?? start(orgId);
    });
    following.set(orgId, started);
    return started;
  }

  function flush(orgId: string): Promise<void> {
    const before = running.get(orgId);
    if (before === undefined) return start(orgId);
    return following.get(orgId) ?? follow(orgId, before);
  }

  async function flushAll() {
    for (const orgId of new Set([...pending.keys(), ...running.keys()])) await flush(orgId);
  }

  const timer = setInterval(() => void flushAll(), flushEveryMs).unref();
  return {
    note: add,
    flush,
    async close() {
      clearInterval(timer);
      await flushAll();
    },
  };
}
