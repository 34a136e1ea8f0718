import { fromJson } from "@bufbuild/protobuf";
import { timestampDate, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { isPossibleTime } from "#src/json/calendar.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { WantedPart } from "./export.ts";

/** What an export is asked for. */
export interface ExportRequest extends WantedPart {
  readonly format: "ndjson" | "csv";
}

const known = ["format", "after", "since", "until"];

/** Reads the query of an export. */
export function readExportRequest(query: string): ExportRequest {
  const given = new URLSearchParams(query);
  for (const name of given.keys()) {
    if (!known.includes(name)) {
      throw new InvalidRequest(
        `unknown query parameter ${JSON.stringify(name)}; there are ${known.join(", ")}`,
      );
    }
    if (given.getAll(name).length > 1) throw new InvalidRequest(`query parameter "${name}" is given twice`);
  }
  const format = given.get("format") ?? "ndjson";
  if (format !== "ndjson" && format !== "csv") throw new InvalidRequest("format: give ndjson or csv");
  return { format, after: numberIn(given), since: timeIn(given, "since"), until: timeIn(given, "until") };
}

function numberIn(given: URLSearchParams): bigint | undefined {
  const text = given.get("after");
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new InvalidRequest("after: give the number of an event");
  return BigInt(text);
}

function timeIn(given: URLSearchParams, name: "since" | "until"): Date | undefined {
  // In a query, a plus that is not encoded is a blank.
  const text = given.get(name)?.replace(" ", "+");
  if (text === undefined) return undefined;
  try {
    // As every other request is read: without a zone it is no time, and of other years there is none.
    const time = timestampDate(fromJson(TimestampSchema, text));
    if (isPossibleTime(text)) return time;
  } catch {
    // Said below.
  }
  throw new InvalidRequest(`${name}: give a time such as 2026-01-31T08:00:00Z`);
}
