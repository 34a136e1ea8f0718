import { createHash, randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Rows } from "#src/db/connection.ts";

/** What a sender knows of an event. */
export interface Sending {
  readonly log: string;
  readonly id: string;
  /** By which it is known again. */
  readonly key: Buffer;
}

/** An event that was answered for. */
export interface Acknowledged extends Sending {
  readonly seq: number;
}

/** What a storm broke; all are 0 if nothing. */
export interface Damage {
  /** Answered for, and not there. */
  readonly lost: number;
  /** There more than once. */
  readonly doubled: number;
  /** There under another number than the answer's. */
  readonly misnumbered: number;
  /** Logs whose numbers are not 1 to the last, or whose days or heads say something else. */
  readonly logsWithGaps: number;
}

/** Senders that repeat an event until it is answered for, each of them until the storm is over. */
export function startSenders(parts: {
  count: number;
  logs: readonly string[];
  send: (sending: Sending) => Promise<number>;
}) {
  const { count, logs, send } = parts;
  const acknowledged: Acknowledged[] = [];
  let attempts = 0;
  let isOver = false;

  async function keepSending(): Promise<void> {
    while (!isOver) {
      const id = randomUUID();
      const log = logs[attempts % logs.length] ?? "";
      const sending = { log, id, key: createHash("sha256").update(id).digest().subarray(0, 16) };
      for (let seq: number | undefined; seq === undefined; await nextTurn()) {
        attempts += 1;
        // Whatever went wrong, and wherever: it is sent again, as senders do.
        seq = await send(sending).catch(() => undefined);
        if (seq !== undefined) acknowledged.push({ ...sending, seq });
      }
    }
  }

  const sending = Promise.all(Array.from({ length: count }, keepSending));
  return {
    acknowledged,
    attempts: () => attempts,
    /** Each event that was begun is sent until it is answered for. */
    async end(): Promise<void> {
      isOver = true;
      await sending;
    },
  };
}

/** Looks for what was answered for; `ask` is the owner's. */
export async function assessDamage(
  ask: (statement: string, parameters?: readonly unknown[]) => Promise<Rows>,
  logs: readonly string[],
  acknowledged: readonly Acknowledged[],
): Promise<Damage> {
  const numbers = new Map<string, string[]>();
  for (const row of await ask("select log, seq, id from events where log = any($1::text[])", [logs])) {
    const name = `${row["log"]}/${row["id"]}`;
    numbers.set(name, [...(numbers.get(name) ?? []), String(row["seq"])]);
  }
  const found = acknowledged.map((one) => ({ one, there: numbers.get(`${one.log}/${one.id}`) }));
  const gaps = await ask(
    `select from log_heads h
     left join lateral (
       select count(*) n, max(seq) top from events e where e.org_id = h.org_id and e.log = h.log
     ) e on true
     left join lateral (
       select max(last_seq) top from log_days d where d.org_id = h.org_id and d.log = h.log
     ) d on true
     where h.log = any($1::text[])
       and (h.seq, h.seq, h.seq) is distinct from (e.n, coalesce(e.top, 0), coalesce(d.top, 0))`,
    [logs],
  );
  return {
    lost: found.filter(({ there }) => there === undefined).length,
    doubled: [...numbers.values()].filter(({ length }) => length > 1).length,
    misnumbered: found.filter(({ one, there }) => there !== undefined && !there.includes(String(one.seq)))
      .length,
    logsWithGaps: gaps.length,
  };
}
