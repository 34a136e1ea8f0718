import type { Database } from "#src/db/database.ts";
import { recordDrift, type DriftNote } from "#src/operations/drift-store.ts";
import type { OutboundReply } from "#src/outbound/outbound.ts";
import { levelOfFailure } from "#src/platform/errors.ts";
import type { Log } from "#src/platform/log.ts";
import { createMergedLog } from "#src/platform/merged-log.ts";
import type { DescribedAction } from "./action-input.ts";
import { isJson } from "./call-body.ts";
import { readMediaType } from "./charset.ts";
import type { Checks } from "./checks/checks.ts";

/** Counts how often answers of operations do not fit what their documents say of them. */
export interface OutputDrift {
  /** Compares the answer once the caller has it. Under load, not all are. */
  compare(orgId: string, action: DescribedAction, reply: OutboundReply): void;
  close(): Promise<void>;
}

/** A larger answer would be in memory once more for as long as it waits. */
const maxComparedBytes = 256 * 1024;

export function createOutputDrift(parts: {
  checks: Pick<Checks, "output">;
  database: Pick<Database, "record">;
  log: Log;
  now: () => Date;
}): OutputDrift {
  const { checks, database, log, now } = parts;
  const underWay = new Set<Promise<void>>();
  const notes = createMergedLog<DriftNote>({
    ...{ of: "how answers fit", merge, log },
    write: (orgId, noted) => database.record(orgId, (tx) => recordDrift(tx, orgId, noted.values())),
  });

  async function compareNow(orgId: string, action: DescribedAction, reply: OutboundReply): Promise<void> {
    const { slug, revision, template: path, method, contract } = action;
    if (contract?.outputSchema === undefined || !isComparable(reply)) return;
    const checked = await checks.output(orgId, contract, reply.body);
    if (checked === undefined || checked.notChecked !== undefined) return;
    const [problem] = checked.problems;
    const place = { slug, revision, path, method };
    notes.note(orgId, JSON.stringify(place), {
      ...{ ...place, checked: 1, unfit: problem ? 1 : 0 },
      ...(problem && {
        lastUnfitAt: now(),
        lastProblem: storable(`${problem.pointer} ${problem.reason}`.trim()),
      }),
    });
  }

  return {
    compare(orgId, action, reply) {
      const comparing = compareNow(orgId, action, reply)
        .catch((error: unknown) => log[levelOfFailure(error)]({ err: error }, "an answer was not compared"))
        .finally(() => underWay.delete(comparing));
      underWay.add(comparing);
    },
    async close() {
      await Promise.all(underWay);
      await notes.close();
    },
  };
}

/** Names in a document may have what Postgres takes in no text; one such note would hold up all others. */
function storable(text: string): string {
  return text.replaceAll("\0", "").toWellFormed();
}

/** Documents describe others of these as well, such as 202, and only one description is kept. */
const describedStatuses = [200, 201];

function isComparable({ status, headers, body }: OutboundReply): boolean {
  const type = readMediaType(headers["content-type"] ?? "");
  return (
    describedStatuses.includes(status) &&
    body.length > 0 &&
    body.length <= maxComparedBytes &&
    headers["content-encoding"] === undefined &&
    type !== undefined &&
    isJson(type.essence) &&
    /^utf-?8$/i.test(type.charset ?? "utf-8")
  );
}

function merge(known: DriftNote, note: DriftNote): DriftNote {
  return {
    ...known,
    checked: known.checked + note.checked,
    unfit: known.unfit + note.unfit,
    lastUnfitAt: note.lastUnfitAt ?? known.lastUnfitAt,
    lastProblem: note.lastProblem ?? known.lastProblem,
  };
}
