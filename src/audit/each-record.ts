import { levelOfFailure, ServiceError } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";

const pageSize = 500;

/**
 * Does the work for each of the records that are found, page by page in the order of their organisations. One that
 * fails is tried again the next time, and holds up no other; an unavailable database ends it.
 */
export async function forEachRecord<Found extends { readonly orgId: string }>(parts: {
  readonly find: (behind: string, most: number) => Promise<readonly Found[]>;
  readonly work: (found: Found) => Promise<void>;
  /** What the log says of one that fails. */
  readonly failed: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { find, work, failed, log, signal } = parts;
  const isOver = () => signal.aborted;
  let behind: string | undefined = "";
  while (behind !== undefined && !isOver()) {
    const page: readonly Found[] = await find(behind, pageSize);
    for (const found of page) {
      if (isOver()) return;
      try {
        await work(found);
      } catch (err) {
        if (err instanceof ServiceError && err.kind === "unavailable") throw err;
        log[levelOfFailure(err)]({ err, orgId: found.orgId }, failed);
      }
    }
    behind = page.length < pageSize ? undefined : page.at(-1)?.orgId;
  }
}
