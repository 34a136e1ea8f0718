import { collect, type Collected, type Item, type ReadLog } from "./collect.ts";
import type { Delivery, Outcome } from "./delivery.ts";
import type { Attempt, DueEndpoint, Settlement, ToPark } from "./dispatch-store.ts";
import type { PauseReason } from "./endpoint.ts";
import { failuresOfFailing, nextProbe, nextTry, noticeOf } from "./schedule.ts";

/** What a turn needs of the world. */
export interface TurnTools {
  readonly read: ReadLog;
  /** Resolves when one more delivery to the endpoint may begin. */
  readonly permit: () => Promise<Disposable>;
  /** Undefined if it was not sent, or given up, because the turn is to end. */
  readonly send: (delivery: Delivery) => Promise<Outcome | undefined>;
  readonly now: () => Date;
}

/** What a turn did, and what others are to be told of the endpoint. */
export interface Turn {
  readonly settlement: Settlement;
  readonly notice: "failing" | "paused" | undefined;
}

/** What became of an item that was sent. */
interface Sent {
  readonly item: Item;
  readonly at: Date;
  readonly outcome: Outcome;
}

/** How the endpoint fares in the course of a turn. */
interface Course {
  failures: number;
  failingSince: Date | null;
  lastSuccessAt: Date | undefined;
  lastFailureAt: Date | undefined;
  notBefore: Date | undefined;
  /** Why it gets nothing more until it is resumed. */
  pausedBy: PauseReason | undefined;
  readonly sent: Sent[];
}

/** Sends to a claimed endpoint what there is for it, and says what is to be recorded. */
export async function takeTurn(endpoint: DueEndpoint, tools: TurnTools): Promise<Turn> {
  const collected = await collect(endpoint, tools.read, tools.now());
  const { failures, failingSince } = endpoint;
  const none = {
    lastSuccessAt: undefined,
    lastFailureAt: undefined,
    notBefore: undefined,
    pausedBy: undefined,
  };
  const course: Course = { failures, failingSince, ...none, sent: [] };
  const chains = chainsOf(endpoint, collected.items);
  const workers = Math.min(endpoint.maxInFlight, chains.length);
  const next = chains.values();
  await Promise.all(
    Array.from({ length: workers }, async () => {
      for (const chain of next) await sendChain(endpoint, chain, course, tools);
    }),
  );
  return settled(endpoint, collected, course, tools.now());
}

/** Items in the order in which they go out. The chains go side by side, the items of one after each other. */
function chainsOf({ ordering }: DueEndpoint, items: readonly Item[]): Item[][] {
  const chains = new Map<string, Item[]>();
  for (const item of items) {
    if (item.waits) continue;
    const { log, seq, subject } = item;
    const isFree = ordering === "none" || item.redelivery || (ordering === "subject" && subject === null);
    // The kinds begin differently, as subjects may be anything.
    const name = isFree
      ? `one ${log} ${seq}`
      : ordering === "log"
        ? `log ${log}`
        : `subject ${log} ${subject}`;
    const chain = chains.get(name);
    if (chain === undefined) chains.set(name, [item]);
    else chain.push(item);
  }
  return [...chains.values()];
}

async function sendChain(
  endpoint: DueEndpoint,
  chain: readonly Item[],
  course: Course,
  tools: TurnTools,
): Promise<void> {
  for (const item of chain) {
    // Held until the outcome is noted: whoever has it next must know that the endpoint fails.
    using _permit = await tools.permit();
    if (isOver(endpoint, course)) return;
    const { event, type, previous, redelivery, attempts } = item;
    const webhookId = item.webhookId ?? `${item.log}.${item.seq}`;
    const outcome = await tools.send({ event, type, previous, redelivery, webhookId, attempt: attempts + 1 });
    if (outcome === undefined) return;
    note(course, { item, outcome, at: tools.now() });
    if (!outcome.ok) return;
  }
}

/** Once it fails, or asks to be left alone, nothing more is begun. */
function isOver({ state }: DueEndpoint, { failures, notBefore, pausedBy }: Course): boolean {
  return (
    notBefore !== undefined || pausedBy !== undefined || (state === "active" && failures >= failuresOfFailing)
  );
}

function note(course: Course, sent: Sent): void {
  const { outcome, at } = sent;
  course.sent.push(sent);
  if (outcome.ok) {
    Object.assign(course, { failures: 0, failingSince: null, lastSuccessAt: at });
    return;
  }
  course.failures++;
  course.failingSince ??= at;
  course.lastFailureAt = at;
  if (outcome.status === 410) course.pausedBy = "gone";
  const { status, retryAfterMs } = outcome;
  if (retryAfterMs !== undefined && (status === 429 || status === 503)) {
    course.notBefore = new Date(at.getTime() + retryAfterMs);
  }
}

function settled(endpoint: DueEndpoint, collected: Collected, course: Course, now: Date): Turn {
  const { orgId, id, url, owner, version, perSecond } = endpoint;
  const { sent, failingSince, lastSuccessAt, lastFailureAt } = course;
  // Those that were under way together count as the one that made it fail: the first probes come soon.
  const failures =
    endpoint.state === "active" ? Math.min(course.failures, failuresOfFailing) : course.failures;
  const parked = sent.filter(({ outcome }) => !outcome.ok).map((one) => again(endpoint, one, course, now));
  const { cursors, waiting } = progress(collected, sent, now);
  const health = { failures, failingSince, lastFailureAt: endpoint.lastFailureAt };
  const notice = lastFailureAt === undefined ? undefined : noticeOf(health, now);
  if (notice === "paused") course.pausedBy ??= "failing";
  const isFailing = failures >= failuresOfFailing;
  const pace = perSecond !== null && sent.length > 0 ? new Date(now.getTime() + 1_000) : undefined;
  const gone = collected.expired.map((one) => ({
    ...one,
    nextTryAt: undefined,
    status: undefined,
    stage: "EXPIRED",
  }));
  const settlement: Settlement = {
    ...{ orgId, id, url, owner, version, failures, failingSince, lastSuccessAt, lastFailureAt, cursors },
    state: course.pausedBy !== undefined ? "paused" : isFailing ? "failing" : "active",
    stateReason: course.pausedBy ?? null,
    notBefore: latest([course.notBefore, isFailing ? nextProbe(failures, now) : undefined, pace]),
    parked: [...parked, ...waiting, ...gone],
    done: [
      ...collected.dropped,
      ...sent.filter(({ item, outcome }) => outcome.ok && !item.isFresh).map(({ item }) => item),
    ].map(({ log, seq }) => ({ log, seq })),
    attempts: sent.filter(({ outcome }) => !outcome.ok || endpoint.keepSuccesses).map(attemptOf),
  };
  return { settlement, notice: course.pausedBy === undefined ? notice : "paused" };
}

/** When an event that failed is tried again. Where all wait for it and it is given up, the endpoint may rather pause. */
function again(
  { ordering, afterSchedule }: DueEndpoint,
  { item, outcome, at }: Sent,
  course: Course,
  now: Date,
): ToPark {
  const attempts = item.attempts + 1;
  let nextTryAt = nextTry({ ...item, attempts }, at, outcome.retryAfterMs);
  if (nextTryAt === undefined && ordering === "log" && afterSchedule === "pause") {
    course.pausedBy ??= "gave_up";
    nextTryAt = now;
  }
  const { status, stage } = outcome;
  return parkedAs(item, { attempts, nextTryAt, status, stage });
}

function parkedAs(item: Item, how: Pick<ToPark, "attempts" | "nextTryAt" | "status" | "stage">): ToPark {
  const { log, seq, previous, subject, redelivery, webhookId, parkedAt } = item;
  return { log, seq, previous, subject, redelivery, webhookId, parkedAt, ...how };
}

/**
 * How far the cursors go: to the last event that was sent or waits. What before it was neither is parked, to be tried at
 * once; what comes after it stays behind the cursor, where it takes no row.
 */
function progress({ items, reaches }: Collected, sent: readonly Sent[], now: Date) {
  const touched = new Set(sent.map(({ item }) => item));
  const waiting: ToPark[] = [];
  const cursors = reaches.flatMap((reach) => {
    const fresh = items.filter((item) => item.isFresh && item.log === reach.log);
    const last = fresh.findLastIndex((item) => item.waits || touched.has(item));
    const left = fresh.slice(0, last + 1).filter((item) => !touched.has(item));
    waiting.push(
      ...left.map((item) =>
        parkedAs(item, { attempts: 0, nextTryAt: now, status: undefined, stage: undefined }),
      ),
    );
    const next = fresh[last + 1];
    const cursor =
      next === undefined
        ? { log: reach.log, seq: reach.seq, previous: reach.selected }
        : { log: reach.log, seq: next.seq - 1, previous: next.previous };
    return cursor.seq > reach.after ? [cursor] : [];
  });
  return { cursors, waiting };
}

function attemptOf({ item, at, outcome }: Sent): Attempt {
  const { log, seq, attempts } = item;
  const { status, stage, answerType, answerBytes } = outcome;
  const latencyMs = Math.round(outcome.latencyMs);
  return { at, log, seq, attempt: attempts + 1, status, latencyMs, stage, answerType, answerBytes };
}

function latest(moments: readonly (Date | undefined)[]): Date | undefined {
  const times = moments.flatMap((moment) => (moment === undefined ? [] : [moment.getTime()]));
  return times.length === 0 ? undefined : new Date(Math.max(...times));
}
