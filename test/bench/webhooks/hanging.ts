import { setTimeout as sleep } from "node:timers/promises";
import type { Deliver, Outcome } from "#src/webhooks/delivery.ts";
import { at } from "../figures.ts";
import type { BenchEndpoints } from "./endpoints.ts";

const perSecond = 200;
const batchMs = 50;
const seconds = 15;
const deliveryMs = 30;
const hangMs = 15_000;
const hanging = 200;

/**
 * Events for one of the ten endpoints of an organisation each. An endpoint that answers takes 30 ms for that. Then 200
 * of them hang: how late do the others have theirs, from the moment when the event is committed?
 */
export async function benchHanging(endpoints: BenchEndpoints): Promise<void> {
  for (const dead of [0, hanging]) {
    const late = await lateness(endpoints, dead);
    console.log(
      `${dead} endpoints hang`.padEnd(48),
      `${late.length} deliveries to the others, late by p50 ${at(0.5, late).toFixed(0)} ms,`,
      `p99 ${at(0.99, late).toFixed(0)} ms, at most ${at(1, late).toFixed(0)} ms`,
    );
  }
}

async function lateness({ owner, dispatch, orgIds, each }: BenchEndpoints, dead: number): Promise<number[]> {
  const sentAt = new Map<string, number>();
  const late: number[] = [];
  const isDead = (orgId: string) => orgIds.indexOf(orgId) < dead / each;
  const deliver: Deliver = async ({ orgId }, { event }, signal) => {
    const known = sentAt.get(event.subject ?? "");
    if (isDead(orgId)) return await outcomeAfter(hangMs, signal, { ok: false, stage: "HTTP" });
    if (known !== undefined) late.push(performance.now() - known);
    return await outcomeAfter(deliveryMs, signal, { ok: true, status: 200 });
  };
  const loop = dispatch(deliver);
  loop.start();
  const began = performance.now();
  for (let i = 0; performance.now() - began < seconds * 1_000; i++) {
    await sleep(Math.max(0, began + i * batchMs - performance.now()));
    const events = Array.from({ length: (perSecond * batchMs) / 1_000 }, (_, n) => {
      // The dead get their share from the beginning.
      const place = Math.floor(Math.random() * (dead > 0 && i % 10 === 0 ? dead / each : orgIds.length));
      const type = `one.${Math.floor(Math.random() * each)}`;
      return { org: orgIds[place], type, subject: `${dead} ${i} ${n}` };
    });
    await owner.run(
      `select append_own_event(org, type, subject, '{}'::json, now())
       from json_to_recordset($1::json) as given (org text, type text, subject text) order by org`,
      [JSON.stringify(events)],
    );
    for (const { subject } of events) sentAt.set(subject, performance.now());
  }
  await sleep(2_000);
  await loop.stop();
  return late.toSorted((one, other) => one - other);
}

async function outcomeAfter(
  ms: number,
  signal: AbortSignal,
  outcome: Partial<Outcome> & { ok: boolean },
): Promise<Outcome> {
  await sleep(ms, undefined, { signal });
  const none = { status: undefined, stage: undefined, answerType: undefined, answerBytes: undefined };
  return { ...none, retryAfterMs: undefined, latencyMs: ms, ...outcome };
}
