import { randomBytes } from "node:crypto";

import { Writable } from "node:stream";
import { inspect } from "node:util";
import { createLog } from "#src/cli/log.ts";
import { RootKeyRefused, RootKeyUnavailable } from "#src/crypto/errors.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { rootKeyAt } from "#src/crypto/root-keys/open.ts";
import { parseRootKeyUrl } from "#src/crypto/root-keys/place.ts";
import { SealBroken } from "#src/crypto/seal.ts";
import { Secret } from "#src/platform/secret.ts";

const lines: string[] = [];
const log = createLog(
  "debug",
  new Writable({ write: (line, _, done) => (lines.push(String(line)), done()) }),
);

/** What root keys logged. */
export const logged = () => lines.join("");

/** The root key of the URL. */
export function open(url: string, options: { vaultToken?: string; tryMs?: number } = {}): Promise<RootKey> {
  const { vaultToken, tryMs = 60_000 } = options;
  return rootKeyAt(parseRootKeyUrl(url), {
    vaultToken: vaultToken === undefined ? undefined : Secret.fromText(vaultToken),
    log,
    patience: { tryMs, pauseMs: 1 },
  });
}

/** What came of it: `ok`, `broken`, or why it may not or cannot be done, as an operator finds it. */
export async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "ok";
  } catch (error) {
    // Neither what callers are told nor what is logged may hold what was sent.
    const everything = inspect(error, { depth: 20, showHidden: true });
    if (/canary|Bearer/.test(everything)) throw new Error("a secret is in the error", { cause: error });
    if (error instanceof SealBroken) return "broken";
    if (!(error instanceof RootKeyUnavailable) || !(error.cause instanceof Error)) throw error;
    return `${error instanceof RootKeyRefused ? "refused" : "outage"}: ${error.cause.message}`;
  }
}

export const context = ["kek", "org_1", "1"];
export const newKey = () => randomBytes(32);
