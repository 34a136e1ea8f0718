/** What an endpoint asks of the key that is presented to it. With `{}`, every valid key is enough. */
export interface Requirement {
  /** The key must grant all of them. */
  readonly scopes?: readonly string[];
  /** The endpoint, by which the catalog knows a scope that is needed beside `scopes`. */
  readonly endpoint?: { readonly serviceSlug: string; readonly method: string; readonly path: string };
  /** The endpoint is under four-eyes: the key must be bound to a user. */
  readonly fourEyes?: boolean;
}

/** A requirement that depends on the request. */
export interface RequirementOf<Request> extends Requirement {
  /** Users who have already acted on the artifact: the key's user must be another. Implies `fourEyes`. */
  readonly distinctFromUserIds?: (request: Request) => UserIds | Promise<UserIds>;
}

type UserIds = readonly string[];

interface Field {
  readonly mustBe: string;
  readonly isValid: (value: unknown) => boolean;
}

const fields: Readonly<Record<keyof RequirementOf<never>, Field>> = {
  scopes: { mustBe: "a list of scopes, none of them empty", isValid: isStringList },
  endpoint: {
    mustBe: "an object with serviceSlug, method and path",
    isValid: (value) => typeof value === "object" && value !== null,
  },
  fourEyes: { mustBe: "true or false", isValid: (value) => typeof value === "boolean" },
  distinctFromUserIds: {
    mustBe: "a function that returns user ids",
    isValid: (value) => typeof value === "function",
  },
};

/** Throws for what is no requirement: with a misspelt field, every valid key would be enough. */
export function validateRequirement(requirement: RequirementOf<never>, name: string): void {
  for (const [field, value] of Object.entries(requirement)) {
    if (!isField(field)) {
      throw new TypeError(
        `${name}: unknown field ${field}; a requirement has ${Object.keys(fields).join(", ")}`,
      );
    }
    const { mustBe, isValid } = fields[field];
    if (!isValid(value)) throw new TypeError(`${name}: ${field} must be ${mustBe}, or be left out`);
  }
}

function isField(name: string): name is keyof typeof fields {
  return Object.hasOwn(fields, name);
}

/** Whether it is a list of strings, none of them empty. */
export function isStringList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string" && text !== "");
}
