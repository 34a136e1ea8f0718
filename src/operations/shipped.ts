import { membersOf } from "#src/json/object.ts";
import type { JsonObject } from "@bufbuild/protobuf";
import { builtInSlugs, type BuiltInSlug } from "#src/integrations/slug.ts";
import type { Complete } from "./reader/complete.ts";
import { proseOf } from "./reader/openapi/document-reading.ts";
import type { ImportedOperation } from "./import/imported.ts";
import { createProblems } from "./reader/problems.ts";
import { readOperations } from "./reader/openapi/read-operations.ts";
import type { Operation, OperationContract } from "./operation.ts";
import type { Endpoint, ServiceDescription } from "./service-description.ts";
import aiAutomation from "./siblings/ai-automation.json" with { type: "json" };
import aml from "./siblings/aml.json" with { type: "json" };
import antiFraud from "./siblings/anti-fraud.json" with { type: "json" };
import bankStatement from "./siblings/bank-statement.json" with { type: "json" };
import documentIntelligence from "./siblings/document-intelligence.json" with { type: "json" };
import identity from "./siblings/identity.json" with { type: "json" };

const documents: Readonly<Record<BuiltInSlug, JsonObject>> = {
  identity,
  aml,
  "anti-fraud": antiFraud,
  "document-intelligence": documentIntelligence,
  "bank-statement": bankStatement,
  "ai-automation": aiAutomation,
};

const shipped = new Map<string, ShippedService>(
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
  const service = shipped.get(slug);
  const found = service?.operations.find((one) => one.method === method && one.path === path);
  return service && found && contractOf(found, service.definitions);
}

/** What the operation is called with. */
export function contractOf(
  { parameters, body, inputSchema, outputSchema, definitionNames }: ImportedOperation,
  definitions: ReadonlyMap<string, JsonObject>,
): OperationContract {
  const text = (schema: JsonObject | undefined) => schema && JSON.stringify(schema);
  const needed = definitionNames.map((name): [string, string] => [
    name,
    JSON.stringify(definitions.get(name) ?? {}),
  ]);
  return {
    ...{ table: "3.1", parameters, body },
    inputSchema: text(inputSchema),
    outputSchema: text(outputSchema),
    definitions: new Map(needed),
  };
}

/** What a document of OpenAPI 3.1 says that comes with Patchbay. */
interface ShippedService extends Complete {
  readonly name: string;
}

/** Reads it as an import does. */
export function readShipped(document: JsonObject): ShippedService {
  const { title } = membersOf(document["info"]);
  const how = {
    table: "3.1",
    problems: createProblems(),
    isOwnServer: () => true,
    swagger: undefined,
  } as const;
  return { name: proseOf(title, 200) ?? "", ...readOperations(document, how) };
}
