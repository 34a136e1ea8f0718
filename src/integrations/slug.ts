import { InvalidSlug } from "./errors.ts";

/** The sibling products, which the catalog knows without any connection. */
export const builtInSlugs = [
  "identity",
  "aml",
  "anti-fraud",
  "document-intelligence",
  "bank-statement",
  "ai-automation",
] as const;

/** What they are called. */
export const builtInNames: Readonly<Record<BuiltInSlug, string>> = {
  identity: "Identity Platform",
  aml: "AML",
  "anti-fraud": "Anti-Fraud",
  "document-intelligence": "Document Intelligence",
  "bank-statement": "Bank Statement",
  "ai-automation": "AI Automation",
};

/** A sibling product. */
export type BuiltInSlug = (typeof builtInSlugs)[number];

/** A connection's handle: a sibling product, or `custom:` and a name of the organisation's own. */
export type ServiceSlug = BuiltInSlug | `custom:${string}`;

const custom = /^custom:[a-z0-9][a-z0-9-]{0,62}$/;

/** The text as a slug. Throws `InvalidSlug`. */
export function parseSlug(text: string): ServiceSlug {
  if (isBuiltIn(text)) return text;
  if (isCustom(text)) return text;
  throw new InvalidSlug(builtInSlugs);
}

/** Whether the slug is a sibling product's. */
export function isBuiltIn(slug: string): slug is BuiltInSlug {
  return (builtInSlugs as readonly string[]).includes(slug);
}

/** Whether the slug is a well-formed one of the organisation's own. */
export function isCustom(slug: string): slug is `custom:${string}` {
  return custom.test(slug);
}
