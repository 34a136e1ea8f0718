import type fc from "fast-check";
import { isObject } from "#src/json/object.ts";
import { textOf, type Json, type JsonSchemas, type Schema, type StandIns } from "../support/json-schema.ts";

/** What a request holds beside its headers. */
export interface Parts {
  readonly path: Readonly<Record<string, Json>>;
  readonly query: Readonly<Record<string, Json>>;
  readonly body?: Json;
}

/** An operation of an OpenAPI document. */
export interface Operation {
  readonly id: string;
  readonly httpMethod: string;
  readonly path: string;
  /** The schema of `Parts`. */
  readonly request: Schema;
  /** The schema of the request's headers, by their names. */
  readonly headers: Schema;
  /** The answers, by status. */
  readonly responses: Readonly<Record<string, Schema>>;
}

/** The operations of a document, without its pages: those take nothing. */
export function operationsOf(document: Schema, schemas: JsonSchemas): Operation[] {
  return Object.entries(document.paths as Record<string, Record<string, Schema>>).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => "x-patchbay-policy" in operation)
      .map(([method, operation]) => operationOf(path, method, operation, schemas)),
  );
}

function operationOf(path: string, method: string, operation: Schema, { resolve }: JsonSchemas): Operation {
  const parameters = (operation.parameters as Schema[]).map(resolve);
  const { required, content } = (operation.requestBody ?? {}) as {
    required?: boolean;
    content?: Record<string, { schema: Schema }>;
  };
  const body = content?.["application/json"]?.schema;
  const properties = {
    path: schemaOf(parameters, "path"),
    query: schemaOf(parameters, "query"),
    ...(body && { body }),
  };
  const responses = Object.entries(operation.responses as Record<string, Schema>);
  return {
    id: textOf(operation.operationId),
    httpMethod: method.toUpperCase(),
    path,
    request: {
      type: "object",
      required: ["path", "query", ...(required === true ? ["body"] : [])],
      properties,
      additionalProperties: false,
    },
    headers: schemaOf(parameters, "header"),
    responses: Object.fromEntries(responses.map(([status, response]) => [status, resolve(response)])),
  };
}

/** The schema of the parameters of one place, by their names. */
function schemaOf(parameters: readonly Schema[], place: string): Schema {
  const here = parameters.filter((parameter) => parameter.in === place);
  return {
    type: "object",
    required: here.filter(({ required }) => required === true).map(({ name }) => textOf(name)),
    properties: Object.fromEntries(here.map(({ name, schema }) => [textOf(name), schema as Json])),
    additionalProperties: false,
  };
}

/** Requests that the document allows. */
export function allowed(operation: Operation, schemas: JsonSchemas, standIns: StandIns): fc.Arbitrary<Parts> {
  const requests = schemas.valid(operation.request, standIns) as unknown as fc.Arbitrary<Parts>;
  return requests.filter((parts) => isSendable(operation, parts));
}

// What is longer is refused for that alone.
const longestUrl = 8_000;
const largestBody = 4 * 1024 * 1024;

/** Whether a client can send it as a request to this operation, and have it read. */
export function isSendable(operation: Operation, parts: Parts): boolean {
  const { path, query, ...rest } = Object(parts) as Partial<Record<string, Json>>;
  if (!isObject(path) || !isObject(query)) return false;
  const { properties } = operation.request as { properties: Schema };
  const names = Object.keys((properties.path as { properties: Schema }).properties);
  // Clients resolve dot segments before they send them, and an empty one would be another path.
  const isSegment = (name: string) =>
    Object.hasOwn(path, name) &&
    typeof path[name] !== "object" &&
    !["", ".", ".."].includes(textOf(path[name]));
  return (
    Object.keys(rest).every((name) => name in properties) &&
    Object.keys(path).length === names.length &&
    names.every(isSegment) &&
    Object.values(query)
      .flat()
      .every((value) => typeof value !== "object") &&
    urlOf(operation, parts).length <= longestUrl &&
    Buffer.byteLength(JSON.stringify(parts.body ?? null)) <= largestBody
  );
}

/** Path and query of the request. */
export function urlOf({ path: template }: Operation, { path, query }: Parts): string {
  const filled = template.replace(/\{([^}]+)\}/g, (_, name: string) =>
    encodeURIComponent(textOf(path[name])),
  );
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value].flat().map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(textOf(one))}`),
  );
  return pairs.length === 0 ? filled : `${filled}?${pairs.join("&")}`;
}

/** The request as the service sees it: in a URL all is text, which only looks like a number, and a list of one like it. */
export function asReceived(operation: Operation, parts: Parts): Parts {
  const { path, query } = (operation.request as { properties: Record<string, { properties: Schema }> })
    .properties;
  const read = (given: Parts["path"], schema: { properties: Schema } | undefined) =>
    Object.fromEntries(
      Object.entries(given).flatMap(([name, value]): [string, Json][] => {
        const { type } = (schema?.properties[name] ?? {}) as Schema;
        const values = [value].flat().map((one) => (type === "string" ? textOf(one) : fromText(textOf(one))));
        return type === "array" || values.length > 1 ? [[name, values]] : values.map((one) => [name, one]);
      }),
    );
  return { ...parts, path: read(parts.path, path), query: read(parts.query, query) };
}

function fromText(text: string): Json {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  return text === "true" || text === "false" ? text === "true" : text;
}
