/** What a guard needs to see of a request, whatever its protocol. */
export interface GuardedRequest {
  /** The values of all its Authorization headers. */
  readonly authorization: readonly string[];
  /** A header, or metadata, as the client sent it. */
  header(name: string): string | undefined;
  /** Where the connection comes from: a proxy, if there is one. */
  readonly remoteAddress: string | undefined;
}

/** What an endpoint asks of the key that is presented to it. Of `{}`, every good key is enough. */
export interface Requirement {
  /** The key must grant all of them. */
  readonly scopes?: readonly string[];
  /** The endpoint, by which the catalog knows a scope that is needed beside `scopes`. */
  readonly endpoint?: { readonly serviceSlug: string; readonly method: string; readonly path: string };
  /** The endpoint is under four-eyes: the key must be bound to a user. */
  readonly fourEyes?: boolean;
}

/** A requirement that depends on what is asked for. */
export interface RequirementOf<Request> extends Requirement {
  /** Users who have already acted on the artifact: the key's user must be another. Implies `fourEyes`. */
  readonly distinctFromUserIds?: (request: Request) => UserIds | Promise<UserIds>;
}

type UserIds = readonly string[];

const makesSense: Readonly<Record<keyof RequirementOf<never>, (value: unknown) => boolean>> = {
  scopes: isListOfTexts,
  endpoint: (value) => typeof value === "object" && value !== null,
  fourEyes: (value) => typeof value === "boolean",
  distinctFromUserIds: (value) => typeof value === "function",
};

/** Throws for what is no requirement, such as a misspelt one, of which every good key would be enough. */
export function requireSense(requirement: RequirementOf<never>, name: string): void {
  for (const [part, value] of Object.entries(requirement)) {
    if (!Object.hasOwn(makesSense, part)) {
      throw new TypeError(`${name}: no ${part} can be asked for, only ${Object.keys(makesSense).join(", ")}`);
    }
    if (!makesSense[part as keyof typeof makesSense](value)) {
      throw new TypeError(`${name}: ${part} is not of its type; leave it out to ask for nothing`);
    }
  }
}

export function isListOfTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string" && text !== "");
}

/**
 * The one Authorization header, if it presents a Bearer token that could be a key; else nothing, which no key is.
 * With two headers, which one counts would depend on who reads them: a proxy, Node or us.
 */
export function presentedBy({ authorization }: Pick<GuardedRequest, "authorization">): string {
  const [value, ...others] = authorization;
  if (value === undefined || others.length > 0 || value.length > maxLength) return "";
  return /^\s*bearer\s/i.test(value) ? value : "";
}

const maxLength = 512;
