import { createHash } from "node:crypto";
import { grants } from "#src/api-keys/scopes.ts";
import type { Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { InvalidPageToken, placeOfToken, tokenOfPlace } from "#src/platform/paging.ts";

/** How far a reader was sent the connections that it may see. */
export interface Place {
  /** The number of the last change. */
  readonly seq: number;
  /** While all connections are sent first: the id of the last of them. Undefined when they were. */
  readonly listedTo: string | undefined;
  /** What the reader could see then, as `sightOf` says it. */
  readonly sight: string;
}

/** Names what decides which connections the caller may see. With another sight, what it was sent does not hold. */
export function sightOf({ orgId, environment, userId, scopes, connections }: Caller): string {
  const facts = [orgId, environment, userId, grants(scopes, "connections:manage"), connections];
  return createHash("sha256").update(JSON.stringify(facts)).digest("base64url").slice(0, 22);
}

/** The place as clients keep it. */
export function positionOf({ seq, listedTo, sight }: Place): string {
  return tokenOfPlace([String(seq), sight, ...(listedTo === undefined ? [] : [listedTo])]);
}

/** The place that the client gives; undefined for none. */
export function placeOf(position: string): Place | undefined {
  const parts = partsOf(position);
  if (parts === undefined) return undefined;
  const [number = "", sight = "", listedTo] = parts;
  const seq = Number(number);
  if (!/^\d{1,16}$/.test(number) || !Number.isSafeInteger(seq)) throw invalid();
  return { seq, listedTo, sight };
}

function partsOf(position: string): readonly string[] | undefined {
  try {
    return placeOfToken(position, [2, 3]);
  } catch (error) {
    throw error instanceof InvalidPageToken ? invalid() : error;
  }
}

function invalid(): InvalidRequest {
  return new InvalidRequest(
    "position: not one that this method sent; leave it out to be sent all connections first",
  );
}
