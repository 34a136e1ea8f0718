import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { cut } from "./http.ts";
import type { RawExchange } from "./raw-route.ts";
import { patienceMs } from "./taken-in-time.ts";

const lookMs = 1_000;

/**
 * Writes an answer no faster than the caller reads it, and cuts one that does not read. The head goes out
 * with the first bytes, so that until then a refusal still can.
 */
export function pacedWriter(
  { response, head, call, signal }: RawExchange,
  parts: {
    readonly headers: Readonly<Record<string, string>>;
    readonly monotonicNow: () => number;
  },
): (piece: Buffer | string) => Promise<void> {
  const { headers, monotonicNow } = parts;
  // Both modules' responses take these calls; only their types cannot be called as one.
  const out = response as ServerResponse;

  async function drained(): Promise<void> {
    const since = monotonicNow();
    const look = setInterval(() => {
      if (monotonicNow() - since > patienceMs) cut(response);
    }, lookMs);
    try {
      await once(out, "drain", { signal });
    } finally {
      clearInterval(look);
    }
  }

  return async (piece) => {
    if (!out.headersSent) out.writeHead(200, { ...head, ...headers });
    call.holding?.become(piece.length);
    call.holding?.waitForReader(() => cut(response));
    if (!out.write(piece)) await drained();
  };
}
