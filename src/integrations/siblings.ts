import { builtInSlugs, type BuiltInSlug } from "./slug.ts";
import aiAutomation from "./siblings/ai-automation.json" with { type: "json" };
import aml from "./siblings/aml.json" with { type: "json" };
import antiFraud from "./siblings/anti-fraud.json" with { type: "json" };
import bankStatement from "./siblings/bank-statement.json" with { type: "json" };
import documentIntelligence from "./siblings/document-intelligence.json" with { type: "json" };
import identity from "./siblings/identity.json" with { type: "json" };
import { describe, type OpenApiDocument, type ServiceDescription } from "./endpoints.ts";

const documents: Readonly<Record<BuiltInSlug, OpenApiDocument>> = {
  identity,
  aml,
  "anti-fraud": antiFraud,
  "document-intelligence": documentIntelligence,
  "bank-statement": bankStatement,
  "ai-automation": aiAutomation,
};

const descriptions: ReadonlyMap<string, ServiceDescription> = new Map(
  builtInSlugs.map((slug) => [slug, describe(documents[slug])]),
);

/** What is known of the service; undefined for one that is not a sibling product. */
export function describeService(slug: string): ServiceDescription | undefined {
  return descriptions.get(slug);
}
