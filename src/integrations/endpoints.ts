import type { JsonObject } from "@bufbuild/protobuf";

/** What a service is to its callers: its name, and its endpoints in the order of path and method. */
export interface ServiceDescription {
  readonly name: string;
  readonly endpoints: readonly Endpoint[];
}

/** One operation of a service. */
export interface Endpoint {
  readonly method: string;
  readonly path: string;
  readonly name: string;
  readonly scope: string | undefined;
  readonly inputSchema: JsonObject | undefined;
  readonly outputSchema: JsonObject | undefined;
  readonly parametersSchema: JsonObject | undefined;
}

/** The parts of an OpenAPI 3.1 document that are read. */
export interface OpenApiDocument {
  readonly info: { readonly title: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

interface Operation {
  readonly summary: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Body;
  readonly responses: Readonly<Record<string, Body | undefined>>;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: JsonObject;
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
    scope: operation.security?.flatMap((need) => Object.values(need).flat())[0],
    inputSchema: jsonSchemaOf(operation.requestBody),
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
