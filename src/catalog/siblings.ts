import { builtInSlugs, type BuiltInSlug } from "#src/connections/slug.ts";
import aiAutomation from "./siblings/ai-automation.json" with { type: "json" };
import aml from "./siblings/aml.json" with { type: "json" };
import antiFraud from "./siblings/anti-fraud.json" with { type: "json" };
import bankStatement from "./siblings/bank-statement.json" with { type: "json" };
import documentIntelligence from "./siblings/document-intelligence.json" with { type: "json" };
import identity from "./siblings/identity.json" with { type: "json" };
import { offerFrom, type Offer, type OpenApiDocument } from "./offer.ts";

const documents: Readonly<Record<BuiltInSlug, OpenApiDocument>> = {
  identity,
  aml,
  "anti-fraud": antiFraud,
  "document-intelligence": documentIntelligence,
  "bank-statement": bankStatement,
  "ai-automation": aiAutomation,
};

/** What each sibling product offers, from the OpenAPI documents that come with Patchbay. */
export function siblingOffers(): ReadonlyMap<string, Offer> {
  return new Map(builtInSlugs.map((slug) => [slug, offerFrom(documents[slug])]));
}
