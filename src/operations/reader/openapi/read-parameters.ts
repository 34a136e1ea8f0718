import type { JsonObject } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import type { Parameter } from "#src/operations/operation.ts";
import { CannotImport, followed, proseOf, type DocumentReading } from "./document-reading.ts";
import { isJson, preferred } from "./media-types.ts";
import { noNeeds, type Needs } from "../needs.ts";
import { swaggerForm } from "./read-swagger.ts";
import { at, within, type Place } from "../schemas/references.ts";

/** A parameter, and what its schema refers to. */
export interface ReadParameter {
  readonly parameter: Parameter;
  readonly needs: Needs;
}

/** Many more than any operation has that people call. */
const maxParameters = 500;

/** The parameters of an operation, its own and those of its path, in the order of the document. */
export function readParameters(
  { item, operation, path }: { readonly item: Place; readonly operation: Place; readonly path: string },
  reading: DocumentReading,
): ReadParameter[] {
  // Those of the path are shared by its methods.
  const ofPath = listed({ ...at(item, "parameters"), shared: true }, reading);
  const own = listed(at(operation, "parameters"), reading);
  if (ofPath.length + own.length > maxParameters) {
    throw new CannotImport(`has more than ${maxParameters} parameters`);
  }
  const found = new Map<string, ReadParameter>();
  for (const [places, inherits] of [
    [ofPath, false],
    [own, true],
  ] as const) {
    const here = new Set<string>();
    for (const place of places) {
      const read = readParameter(place, reading);
      if (read === undefined) continue;
      const id = idOf(read.parameter);
      if (here.has(id))
        reading.problems.add(
          place.pointer,
          `parameter ${read.parameter.name} is there twice; the last counts`,
        );
      here.add(id);
      if (inherits) found.delete(id);
      found.set(id, read);
    }
  }
  return withTemplate([...found.values()], path, operation, reading);
}

function idOf({ in: place, name }: Parameter): string {
  return `${place} ${place === "header" ? name.toLowerCase() : name}`;
}

function listed(place: Place, { problems }: DocumentReading): Place[] {
  if (place.value === undefined) return [];
  if (Array.isArray(place.value)) return within(place);
  problems.add(place.pointer, "is no list of parameters");
  return [];
}

/** What every client of HTTP says by itself, or a connection: OpenAPI has them ignored. */
const ignoredHeaders = ["accept", "content-type", "authorization"];

function readParameter(given: Place, reading: DocumentReading): ReadParameter | undefined {
  const place = followed(given, reading);
  if (place === undefined) return undefined;
  const { name, in: where, required: isRequired } = membersOf(place.value);
  if (typeof name !== "string" || name === "" || typeof where !== "string") {
    reading.problems.add(place.pointer, "is no parameter: it needs a name and a place");
    return undefined;
  }
  // They are the body.
  if (reading.swagger !== undefined && (where === "body" || where === "formData")) return undefined;
  if (where !== "path" && where !== "query" && where !== "header") {
    if (isRequired === true)
      throw new CannotImport(`needs the ${where} parameter ${name}, which calls cannot send`);
    reading.problems.add(place.pointer, `${where} parameters cannot be sent, so it is left out`);
    return undefined;
  }
  if (where === "header" && ignoredHeaders.includes(name.toLowerCase())) return undefined;
  const needs = noNeeds();
  const parameter: Parameter = {
    name,
    in: where,
    required: where === "path" || isRequired === true,
    ...formOf(place, where, needs, reading),
  };
  return { parameter, needs };
}

/** Its schema, and how it is written. */
function formOf(
  place: Place,
  where: Parameter["in"],
  needs: Needs,
  reading: DocumentReading,
): Omit<Parameter, "name" | "in" | "required"> {
  if (reading.swagger !== undefined) return swaggerForm(place, where, needs, reading);
  const { content, description } = membersOf(place.value);
  const type = isObject(content) ? preferred(Object.keys(content)) : undefined;
  if (type !== undefined) {
    const media = followed(at(at(place, "content"), type), reading);
    const schema = media === undefined ? {} : schemaAt(at(media, "schema"), needs, reading);
    return { schema: described(schema, description), ...(isJson(type) && { isJson: true }) };
  }
  const schema = schemaAt(at(place, "schema"), needs, reading);
  return { schema: described(schema, description), ...writtenAs(place, where, reading) };
}

function schemaAt(place: Place, needs: Needs, { definitions }: DocumentReading): JsonObject {
  return place.value === undefined ? {} : definitions.read(place, needs);
}

function described(schema: JsonObject, description: JsonObject[string] | undefined): JsonObject {
  const text = proseOf(description, 1_000);
  return text === undefined || schema["description"] !== undefined
    ? schema
    : { ...schema, description: text };
}

const styles: Readonly<Record<Parameter["in"], readonly [usual: string, ...others: string[]]>> = {
  path: ["simple", "label", "matrix"],
  query: ["form", "spaceDelimited", "pipeDelimited", "deepObject"],
  header: ["simple"],
};

function writtenAs(place: Place, where: Parameter["in"], { problems }: DocumentReading) {
  const { style, explode, allowReserved } = membersOf(place.value);
  const [usual, ...others] = styles[where];
  if (style !== undefined && style !== usual && !others.some((known) => known === style)) {
    problems.add(
      at(place, "style").pointer,
      `${JSON.stringify(style)} is no style of a ${where}; it is written as ${usual}`,
    );
  }
  return {
    ...(typeof style === "string" && others.includes(style) && { style }),
    ...(typeof explode === "boolean" && { explode }),
    ...(allowReserved === true && where === "query" && { allowReserved }),
  };
}

/** Path parameters are what the template names, and nothing else. */
function withTemplate(
  read: readonly ReadParameter[],
  path: string,
  operation: Place,
  { problems }: DocumentReading,
): ReadParameter[] {
  const named = [...path.matchAll(/\{([^{}]*)\}/g)].map(([, name = ""]) => name);
  const kept = read.filter(({ parameter }) => {
    const isMissing = parameter.in === "path" && !named.includes(parameter.name);
    if (isMissing)
      problems.add(
        operation.pointer,
        `path parameter ${parameter.name} is not in the path, so it is left out`,
      );
    return !isMissing;
  });
  const declared = new Set(
    kept.filter(({ parameter }) => parameter.in === "path").map(({ parameter }) => parameter.name),
  );
  const others = [...new Set(named)].filter((name) => !declared.has(name));
  for (const name of others) {
    problems.add(operation.pointer, `path parameter ${name} is not described, so any value is accepted`);
  }
  const undescribed = others.map((name): ReadParameter => ({
    parameter: { name, in: "path", required: true, schema: {} },
    needs: noNeeds(),
  }));
  return [...undescribed, ...kept];
}
