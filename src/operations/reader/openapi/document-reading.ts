import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { StyleTable } from "#src/operations/operation.ts";
import type { Definitions } from "../schemas/definitions.ts";
import type { Problems } from "../problems.ts";
import { BrokenReference, type Place, type References } from "../schemas/references.ts";

/** What is known while a document is read. */
export interface DocumentReading {
  readonly table: StyleTable;
  readonly references: References;
  readonly definitions: Definitions;
  readonly problems: Problems;
  /** Whether calls of an operation with these servers go where the service's base URL is. */
  readonly isOwnServer: (servers: JsonValue | undefined) => boolean;
  /** The document, if it is of Swagger 2.0. */
  readonly swagger: JsonObject | undefined;
}

/** Why an operation cannot be imported. */
export class CannotImport extends Error {}

/**
 * The node, or where its reference leads; undefined, and reported, for one that leads nowhere in the document. Throws
 * CannotImport for one that leads out of it.
 */
export function followed(place: Place, { references, problems }: DocumentReading): Place | undefined {
  try {
    return references.follow(place);
  } catch (error) {
    if (!(error instanceof BrokenReference)) throw error;
    problems.add(place.pointer, error.message);
    if (error.isOutside) throw new CannotImport(error.message);
    return undefined;
  }
}

/** A text for people, such as Postgres takes; undefined for what is none. */
export function proseOf(value: JsonValue | undefined, maxLength: number): string | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const text = String(value).trim();
  const short = text.length > maxLength ? `${text.slice(0, maxLength - 1)}…` : text;
  const clean = short.replaceAll("\0", "").toWellFormed();
  return clean === "" ? undefined : clean;
}
