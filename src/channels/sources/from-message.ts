import type { PolledSource, SourceParameter, StreamSource } from "#gen/patchbay/events/v1/channel_pb.js";
import { pathProblem } from "#src/outbound/path.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { NextPage, Parameter, PollConfig, StreamConfig } from "./source.ts";

const defaultIdleSeconds = 90;
const shortestSeconds = 10;
const defaultIntervalSeconds = 60;
const defaultType = "item";

/** The event stream that the caller describes. */
export function streamConfigFrom({ path, query, idleSeconds }: StreamSource): StreamConfig {
  return {
    path: requirePath("sse.path", path),
    query: query.map(parameterFrom),
    idleSeconds: secondsFrom("sse.idleSeconds", idleSeconds, defaultIdleSeconds),
  };
}

/** The list that the caller describes. */
export function pollConfigFrom(given: PolledSource): PollConfig {
  const { cursor, cursorIsTime, query } = given;
  const namesCursor = query.some(({ value }) => value.includes("{cursor}"));
  if (namesCursor && cursor === "") {
    throw new InvalidRequest("poll.cursor: the query has {cursor}; say where an item has it, such as /id");
  }
  if (cursorIsTime && cursor === "") {
    throw new InvalidRequest("poll.cursorIsTime: there is no cursor; give poll.cursor, or leave this out");
  }
  const { type, time } = given;
  return {
    path: requirePath("poll.path", given.path),
    query: query.map(parameterFrom),
    intervalSeconds: secondsFrom("poll.intervalSeconds", given.intervalSeconds, defaultIntervalSeconds),
    items: given.items,
    id: given.id || "/id",
    ...(type !== "" && { type }),
    defaultType: given.defaultType || defaultType,
    ...(time !== "" && { time }),
    order: given.order === "ascending" ? "ascending" : "descending",
    ...(cursor !== "" && { cursor }),
    isTimeCursor: cursorIsTime,
    ...nextFrom(given),
    start: given.start === "all" ? "all" : "now",
  };
}

function nextFrom({ next, nextByLink, nextParameter }: PolledSource): { next?: NextPage } {
  if (nextByLink) {
    if (next !== "" || nextParameter !== "") {
      throw new InvalidRequest(
        "poll.nextByLink: it excludes next and nextParameter; give one way to the next page",
      );
    }
    return { next: { by: "link" } };
  }
  if (next !== "") {
    const parameter = nextParameter === "" ? {} : { parameter: nextParameter };
    return { next: { by: "pointer", pointer: next, ...parameter } };
  }
  if (nextParameter !== "") {
    throw new InvalidRequest(
      "poll.nextParameter: say with next where a page has its value, such as /next_token",
    );
  }
  return {};
}

function requirePath(field: string, path: string): string {
  const problem = path === "" ? undefined : pathProblem(path);
  if (problem !== undefined) throw new InvalidRequest(`${field}: ${problem}`);
  return path;
}

function parameterFrom({ name, value }: SourceParameter): Parameter {
  return { name, value };
}

function secondsFrom(field: string, given: number, usual: number): number {
  if (given === 0) return usual;
  if (given < shortestSeconds) throw new InvalidRequest(`${field}: give at least ${shortestSeconds}`);
  return given;
}
