import { createHash } from "node:crypto";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import type { StyleTable } from "#src/operations/operation.ts";
import { canonicalJson } from "../canonical-json.ts";
import { noNeeds, type Needs } from "../needs.ts";
import { schemaFrom, type Schema } from "./normalise.ts";
import { stepsOf } from "../pointer.ts";
import type { Problems } from "../problems.ts";
import type { Place, References } from "./references.ts";

/** A schema that others refer to. */
export interface Definition {
  readonly schema: JsonObject;
  readonly needs: Needs;
  readonly bytes: number;
  readonly hash: string;
}

/** The schemas of a document that are referred to, each read once. */
export interface Definitions {
  /** The node as a schema; `needs` collects what it refers to. */
  read(place: Place, needs: Needs): JsonObject;
  /** Reads what is referred to and has not been read, and what that refers to. By name. */
  settle(): ReadonlyMap<string, Definition>;
}

/** What several operations may hold is not repeated in each, unless it is as small as a reference. */
const maxRepeated = 200;

/** Knows none yet. */
export function createDefinitions(parts: {
  readonly table: StyleTable;
  readonly references: References;
  readonly problems: Problems;
}): Definitions {
  const named = new Map<string, { readonly name: string; readonly place: Place }>();
  const freeName = createFreeNames();
  const settled = new Map<string, Definition>();

  function nameOf(place: Place): string {
    const known = named.get(place.pointer);
    if (known !== undefined) return known.name;
    const name = freeName(nameFrom(place.pointer));
    named.set(place.pointer, { name, place });
    return name;
  }

  function schemaOf(place: Place, needs: Needs): JsonObject {
    return asObject(schemaFrom(place, { ...parts, nameOf, needs, isSameValue: true }));
  }

  return {
    read(place, needs) {
      const isRepeated = place.shared && (named.has(place.pointer) || !isSmall(place.value));
      if (!isRepeated) return schemaOf(place, needs);
      const name = nameOf(place);
      needs.names.add(name);
      return { $ref: `#/$defs/${name}` };
    },
    settle() {
      // What is named meanwhile comes after, and the iteration goes on with it.
      for (const { name, place } of named.values()) {
        if (settled.has(name)) continue;
        const needs = noNeeds();
        const schema = schemaOf(place, needs);
        settled.set(name, { schema, needs, ...measured(name, schema) });
      }
      return settled;
    },
  };
}

/** What a definition weighs, and what tells it from others. */
export function measured(name: string, schema: JsonObject): Pick<Definition, "bytes" | "hash"> {
  const text = canonicalJson(schema);
  return {
    // With its name, quotes, a colon and a comma.
    bytes: Buffer.byteLength(text) + name.length + 4,
    hash: createHash("sha256").update(text).digest("base64url"),
  };
}

function asObject(schema: Schema): JsonObject {
  if (schema === true) return {};
  return schema === false ? { not: {} } : schema;
}

function isSmall(value: JsonValue | undefined): boolean {
  return !isObject(value) || JSON.stringify(value).length <= maxRepeated;
}

const maxName = 100;

/** Schemas keep their name; what is elsewhere has the steps of its pointer. No name has a character to be escaped. */
function nameFrom(pointer: string): string {
  const steps = stepsOf(pointer);
  const isSchema = /^\/(?:components\/schemas|definitions)\//.test(pointer);
  const given = isSchema
    ? steps.slice(steps[0] === "definitions" ? 1 : 2)
    : steps.filter((step) => step !== "components");
  const name = given.join(".").replace(/[^A-Za-z0-9._-]+/g, "_");
  return name.length <= maxName && name !== ""
    ? name
    : `${name.slice(0, maxName - 12)}-${shortHash(pointer)}`;
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 11);
}

/** Names that differ, if only by a number: what differs in the document may be spelled alike here. */
function createFreeNames(): (wanted: string) => string {
  const taken = new Map<string, number>();
  return (wanted) => {
    let count = taken.get(wanted) ?? 0;
    let name = wanted;
    while (taken.has(name)) name = `${wanted}_${++count}`;
    taken.set(wanted, count).set(name, taken.get(name) ?? 0);
    return name;
  };
}
