const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/** How long an event waits before each of its tries. */
const waits = [
  0,
  5 * second,
  5 * minute,
  30 * minute,
  ...[2, 5, 10, 14, 20, 24].map((hours) => hours * hour),
];
const jitter = 0.1;
/** An event is given up no sooner, however often a failing endpoint was tried with it meanwhile. */
const leastWaitMs = (1 - jitter) * waits.reduce((sum, wait) => sum + wait, 0);

const firstProbeMs = 5 * second;
const maxProbeMs = hour;
/** In a row, and then it is the endpoint that fails, and no longer its events. */
export const failuresOfFailing = 5;

const firstNoticeMs = hour;
const secondNoticeMs = 24 * hour;
const pauseMs = 5 * 24 * hour;
const leastFailures = 20;

/** When an event is tried again that failed this often; undefined once it is given up. */
export function nextTry(
  { attempts, parkedAt }: { readonly attempts: number; readonly parkedAt: Date },
  now: Date,
  retryAfterMs = 0,
): Date | undefined {
  const wait = waits[attempts];
  if (wait !== undefined) return after(now, Math.max(jittered(wait), retryAfterMs));
  const end = after(parkedAt, leastWaitMs);
  return now >= end ? undefined : end;
}

/** How an endpoint fares: failures in a row, since its last success. */
export interface Health {
  readonly failures: number;
  /** Null without failures. */
  readonly failingSince: Date | null;
  readonly lastFailureAt: Date | null;
}

/** When a failing endpoint is tried again. */
export function nextProbe(failures: number, now: Date): Date {
  return after(now, jittered(Math.min(firstProbeMs * 4 ** (failures - failuresOfFailing), maxProbeMs)));
}

/** What others are to be told of an endpoint that fails again: that it does, for an hour or a day, or that it is over. */
export function noticeOf(
  { failures, failingSince, lastFailureAt }: Health,
  now: Date,
): "failing" | "paused" | undefined {
  if (failingSince === null) return undefined;
  const lasts = now.getTime() - failingSince.getTime();
  if (lasts >= pauseMs && failures >= leastFailures) return "paused";
  const lasted = lastFailureAt === null ? 0 : lastFailureAt.getTime() - failingSince.getTime();
  const crossed = [firstNoticeMs, secondNoticeMs].some((bound) => lasted < bound && lasts >= bound);
  return crossed && failures >= failuresOfFailing ? "failing" : undefined;
}

function jittered(ms: number): number {
  return ms * (1 + jitter * (2 * Math.random() - 1));
}

function after(at: Date, ms: number): Date {
  return new Date(at.getTime() + ms);
}
