import type { JsonObject } from "@bufbuild/protobuf";

/** What a service is to its callers: its name, and its endpoints in the order of path and method. */
export interface ServiceDescription {
  readonly name: string;
  /** Of OpenAPI, which its document is written in, such as `3.1.0`. */
  readonly openApiVersion: string;
  readonly endpoints: readonly Endpoint[];
}

/** One operation of a service. */
export interface Endpoint {
  readonly method: string;
  readonly path: string;
  readonly name: string;
  /** Unique in its document; undefined where that gives none. */
  readonly operationId: string | undefined;
  readonly parameters: readonly Parameter[];
  readonly scope: string | undefined;
  readonly inputSchema: JsonObject | undefined;
  /** Whether it is never called without a body. */
  readonly needsInput: boolean;
  readonly outputSchema: JsonObject | undefined;
  readonly parametersSchema: JsonObject | undefined;
}

/** The parts of an OpenAPI 3.1 document that are read. */
export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

interface Operation {
  readonly operationId?: string;
  readonly summary: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Body & { readonly required?: boolean };
  readonly responses: Readonly<Record<string, Body | undefined>>;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
}

/** What a request may say beside its body. */
export interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: JsonObject;
  /** How lists and objects are written; the usual way of its place if absent. */
  readonly style?: string;
  readonly explode?: boolean;
}

interface Body {
  readonly content?: Readonly<Record<string, { readonly schema?: JsonObject } | undefined>>;
}

/** What the document says. Its schemas must hold no `$ref`: in an answer, it would lead nowhere. */
export function describe(document: OpenApiDocument): ServiceDescription {
  const endpoints = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => endpointFrom(method.toUpperCase(), path, operation)),
  );
  return {
    name: document.info.title,
    openApiVersion: document.openapi,
    endpoints: endpoints.sort((a, b) => compare(a.path, b.path) || compare(a.method, b.method)),
  };
}

/** Every scope that an endpoint of the service needs; none for an unknown service. */
export function scopesOf(service: ServiceDescription | undefined): string[] {
  const scopes = (service?.endpoints ?? []).flatMap(({ scope }) => scope ?? []);
  return [...new Set(scopes)].sort(compare);
}

function endpointFrom(method: string, path: string, operation: Operation): Endpoint {
  return {
    method,
    path,
    name: operation.summary,
    operationId: operation.operationId,
    parameters: operation.parameters ?? [],
    scope: operation.security?.flatMap((need) => Object.values(need).flat())[0],
    inputSchema: jsonSchemaOf(operation.requestBody),
    needsInput: operation.requestBody?.required === true,
    outputSchema: jsonSchemaOf(successOf(operation)),
    parametersSchema: parametersSchema(operation.parameters ?? []),
  };
}

function successOf({ responses }: Operation): Body | undefined {
  const status = Object.keys(responses).find((code) => code.startsWith("2"));
  return status === undefined ? undefined : responses[status];
}

function jsonSchemaOf(body: Body | undefined): JsonObject | undefined {
  return body?.content?.["application/json"]?.schema;
}

function parametersSchema(parameters: readonly Parameter[]): JsonObject | undefined {
  if (parameters.length === 0) return undefined;
  const places = [...new Set(parameters.map((parameter) => parameter.in))];
  return objectSchema(
    places.map((place) => {
      const here = parameters.filter((parameter) => parameter.in === place);
      const required = here.filter((parameter) => parameter.required === true);
      return [place, objectSchema(here.map(({ name, schema }) => [name, schema]), required.map(({ name }) => name))]; // prettier-ignore
    }),
    places.filter((place) => parameters.some((one) => one.in === place && one.required === true)),
  );
}

function objectSchema(properties: [string, JsonObject][], required: string[]): JsonObject {
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    ...(required.length > 0 && { required }),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
