import { setTimeout } from "node:timers/promises";
import { turnsOf, WaitedTooLong } from "#src/platform/turns.ts";
import { within } from "#src/platform/within.ts";
import { RootKeyRefused, RootKeyUnavailable } from "../errors.ts";
import type { RootKey } from "../root-key.ts";

/**
 * A key management service, asked once. It fails with `SealBroken` for bytes that this key did not wrap for this
 * context, with `RootKeyRefused` if there is something to change, and with `RootKeyUnavailable` if another try may go
 * well. None of the errors of its SDK come out: they hold requests, with their credentials.
 */
export interface KeyService {
  readonly id: string;
  /** The context as a text, which the service authenticates with the key. */
  wrap(key: Buffer, context: string, signal: AbortSignal): Promise<Buffer>;
  unwrap(wrapped: Buffer, context: string, signal: AbortSignal): Promise<Buffer>;
}

/** How long a service is waited for. */
export interface Patience {
  /** For one try. */
  readonly tryMs: number;
  /** Before the second try; twice that before the third. */
  readonly pauseMs: number;
}

const tries = 3;
/** A start with thousands of organisations would otherwise open as many sockets, and be throttled for all of them. */
const callsAtOnce = 32;
/** What has not had its turn by then is refused, so that a service that hangs leaves no queue behind. */
const turnMs = 10_000;
/** All tries together take less than a caller of this service waits twice: `unwrap.ts`. */
export const usualPatience: Patience = { tryMs: 3_000, pauseMs: 200 };

/** The root key that the service keeps. What fails by an outage is tried again, as often one node of many is down. */
export function remoteRootKey(service: KeyService, patience: Patience): RootKey {
  const inTurn = turnsOf(callsAtOnce);

  async function ask(call: (signal: AbortSignal) => Promise<Buffer>): Promise<Buffer> {
    try {
      return await inTurn(() => insist(patience, call), { patienceMs: turnMs });
    } catch (error) {
      if (!(error instanceof WaitedTooLong)) throw error;
      throw new RootKeyUnavailable(new Error("too many requests wait for the key management service"));
    }
  }

  return {
    id: service.id,
    wrap: (key, context) => ask((signal) => service.wrap(key, textOf(context), signal)),
    unwrap: (wrapped, context) => ask((signal) => service.unwrap(wrapped, textOf(context), signal)),
  };
}

/** JSON keeps the parts apart: `["a", "bc"]` and `["ab", "c"]` must not authenticate each other. */
function textOf(context: readonly string[]): string {
  return JSON.stringify(context);
}

/** Makes the call, and again after an outage. */
export async function insist<T>(patience: Patience, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tryOnce(patience.tryMs, call);
    } catch (error) {
      const isOutage = error instanceof RootKeyUnavailable && !(error instanceof RootKeyRefused);
      if (!isOutage || attempt === tries) throw error;
      // Not all replicas at the same moment.
      await setTimeout(patience.pauseMs * attempt * (0.5 + Math.random() / 2));
    }
  }
}

async function tryOnce<T>(tryMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ending = new AbortController();
  try {
    return await within(
      tryMs,
      call(ending.signal),
      () => new RootKeyUnavailable(new Error(`the key management service did not answer in ${tryMs} ms`)),
    );
  } finally {
    ending.abort();
  }
}
