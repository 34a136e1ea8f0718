import { InvalidRequest } from "#src/platform/errors.ts";
import { CursorOfOtherLog } from "./errors.ts";
import type { Start } from "./start.ts";

/** What is asked for as server-sent events. */
export interface StreamRequest {
  readonly starts: readonly Start[];
  readonly types: readonly string[];
}

const known = ["log", "type", "from"];
const most = 50;
const nowhere: ReadonlyMap<string, number> = new Map();
const maxLength = { log: 64, type: 256 };

/**
 * Reads `log` and `type`, each given once or more, and `from`. The positions of `Last-Event-ID`, which a client sends
 * when it comes back, take the place of `from`.
 */
export function readStreamRequest(query: string, lastEventId: string | undefined): StreamRequest {
  const given = new URLSearchParams(query);
  const unknown = [...given.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new InvalidRequest(`unknown query parameter ${JSON.stringify(unknown)}; there are log, type, from`);
  }
  const logs = listOf(given, "log");
  if (logs.length === 0)
    throw new InvalidRequest("log: name the log to read: a channel's id, service or audit");
  const [from, ...others] = given.getAll("from");
  if (others.length > 0) throw new InvalidRequest('query parameter "from" is given twice');
  const positions = positionsIn("Last-Event-ID", lastEventId) ?? positionsIn("from", from) ?? nowhere;
  const foreign = [...positions.keys()].find((log) => !logs.includes(log));
  if (foreign !== undefined) throw new CursorOfOtherLog(foreign);
  const start = positions.size > 0 ? "earliest" : startIn(from);
  return {
    starts: logs.map((log) => {
      const after = positions.get(log);
      return { log, from: after === undefined ? start : { after } };
    }),
    types: listOf(given, "type"),
  };
}

function listOf(given: URLSearchParams, name: keyof typeof maxLength): readonly string[] {
  const values = given.getAll(name);
  if (values.length > most) throw new InvalidRequest(`${name}: give at most ${most}`);
  if (values.some((value) => value === "" || value.length > maxLength[name])) {
    throw new InvalidRequest(`${name}: give 1 to ${maxLength[name]} characters each`);
  }
  return values;
}

/** Positions as `id` writes them; undefined for other text. */
function positionsIn(where: string, text: string | undefined): ReadonlyMap<string, number> | undefined {
  if (text === undefined || text === "" || (where === "from" && !isPositions(text))) return undefined;
  if (!isPositions(text)) {
    throw new InvalidRequest(`${where}: not an id of this stream; leave it out to begin anew`);
  }
  return new Map(
    text.split(",").map((one) => {
      const colon = one.indexOf(":");
      return [one.slice(0, colon), Number(one.slice(colon + 1))];
    }),
  );
}

function isPositions(text: string): boolean {
  return text.split(",").every((one) => /^[A-Za-z0-9_-]{1,64}:\d{1,15}$/.test(one));
}

function startIn(from = "latest"): "earliest" | "latest" | { since: Date } {
  if (from === "earliest" || from === "latest") return from;
  const time = /^\d{4}-\d{2}-\d{2}T/.test(from) ? new Date(from.replace(" ", "+")) : undefined;
  if (time !== undefined && !Number.isNaN(time.getTime())) return { since: time };
  throw new InvalidRequest(
    "from: give earliest, latest, a time such as 2026-05-04T08:00:00Z, or positions such as audit:42",
  );
}
