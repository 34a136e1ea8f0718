import type { JsonObject } from "@bufbuild/protobuf";
import { builtInSlugs, type BuiltInSlug } from "#src/integrations/slug.ts";
import type { Operation, OperationContract, Parameter } from "./operation.ts";
import type { Endpoint, ServiceDescription } from "./service-description.ts";
import aiAutomation from "./siblings/ai-automation.json" with { type: "json" };
import aml from "./siblings/aml.json" with { type: "json" };
import antiFraud from "./siblings/anti-fraud.json" with { type: "json" };
import bankStatement from "./siblings/bank-statement.json" with { type: "json" };
import documentIntelligence from "./siblings/document-intelligence.json" with { type: "json" };
import identity from "./siblings/identity.json" with { type: "json" };

/** The parts of an OpenAPI 3.1 document that are read. */
export interface OpenApiDocument {
  readonly info: { readonly title: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
}

interface DocumentedOperation {
  readonly operationId?: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly (Omit<Parameter, "in" | "required"> & { in: string; required?: boolean })[];
  readonly requestBody?: Body & { readonly required?: boolean };
  readonly responses: Readonly<Record<string, Body | undefined>>;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
}

interface Body {
  readonly description?: string;
  /** As answers to failure have it, which are not read. */
  readonly $ref?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: JsonObject } | undefined>>;
}

const documents: Readonly<Record<BuiltInSlug, OpenApiDocument>> = {
  identity,
  aml,
  "anti-fraud": antiFraud,
  "document-intelligence": documentIntelligence,
  "bank-statement": bankStatement,
  "ai-automation": aiAutomation,
};

const shipped = new Map<string, { name: string; operations: readonly Operation[] }>(
  builtInSlugs.map((slug) => [slug, readShipped(documents[slug])]),
);

/** What comes with Patchbay of the service; undefined for one that is not a sibling product. */
export function shippedDescription(slug: string): ServiceDescription | undefined {
  const found = shipped.get(slug);
  return found && { name: found.name, revision: 0, endpoints: found.operations };
}

/** The operations of a sibling as they come with Patchbay; none of any other service. */
export function shippedOperations(slug: string): readonly Operation[] {
  return shipped.get(slug)?.operations ?? [];
}

/** What an operation of a sibling is called with, as it comes with Patchbay. */
export function shippedContract(slug: string, { method, path }: Endpoint): OperationContract | undefined {
  const found = shipped.get(slug)?.operations.find((one) => one.method === method && one.path === path);
  return found && contractOf(found);
}

/** What the operation is called with. Its schemas must hold no references. */
export function contractOf({ parameters, body, inputSchema, outputSchema }: Operation): OperationContract {
  const text = (schema: JsonObject | undefined) => schema && JSON.stringify(schema);
  return {
    ...{ table: "3.1", parameters, body },
    inputSchema: text(inputSchema),
    outputSchema: text(outputSchema),
    definitions: new Map(),
  };
}

/** The operations of a document, in order of path and method. */
export function readShipped({ info, paths }: OpenApiDocument) {
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => operationFrom(method.toUpperCase(), path, operation)),
  );
  return {
    name: info.title,
    operations: operations.sort((a, b) => compare(a.path, b.path) || compare(a.method, b.method)),
  };
}

function operationFrom(method: string, path: string, operation: DocumentedOperation): Operation {
  const { operationId, summary, description, requestBody, responses, security, parameters = [] } = operation;
  const status = Object.keys(responses).find((code) => code.startsWith("2")) ?? "";
  return {
    method,
    path,
    name: summary,
    operationId,
    description,
    deprecated: false,
    scopes: security?.flatMap((need) => Object.values(need).flat()) ?? [],
    parameters: parameters.map((one) => ({ ...one, in: one.in as Parameter["in"], required: one.required === true })), // prettier-ignore
    body: requestBody && { contentType: "application/json", required: requestBody.required === true },
    inputSchema: jsonSchemaOf(requestBody),
    outputSchema: jsonSchemaOf(responses[status]),
  };
}

function jsonSchemaOf(body: Body | undefined): JsonObject | undefined {
  return body?.content?.["application/json"]?.schema;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
