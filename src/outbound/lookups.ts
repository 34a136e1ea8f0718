import type { LookupAddress, LookupOptions } from "node:dns";
import type { LookupFunction } from "node:net";
import { createCallSlots } from "./call-slots.ts";

/**
 * Finds the addresses of a host. Aborting ends the wait for a turn; a look-up that has begun, which `begun` is called
 * for, cannot be ended.
 */
export type Lookup = (
  host: string,
  options: LookupOptions,
  turn: { readonly signal: AbortSignal; readonly begun: () => void },
) => Promise<LookupAddress[]>;

/**
 * The system's look-up, one at a time for each share. It has few threads for the whole process, and a name whose
 * server does not answer holds one of them for many seconds: a few such names would be enough to cut off all callers.
 */
export function createLookups(lookup: LookupFunction): (share: string) => Lookup {
  const slots = createCallSlots({
    callsPerOrigin: 1,
    callsPerShare: 1,
    waitingCalls: Infinity,
    waitingBytes: Infinity,
  });

  return (share) =>
    async (host, options, { signal, begun }) => {
      using _slot = await slots.take({ share, origin: host, host, bytes: 0, signal });
      begun();
      return await new Promise((resolve, reject) => {
        lookup(host, { ...options, all: true }, (error, addresses) => {
          if (error !== null) reject(error);
          else resolve(Array.isArray(addresses) ? addresses : []);
        });
      });
    };
}
