import { InvalidRequest } from "#src/platform/errors.ts";
import { pastedProblem } from "#src/platform/pasted-secret.ts";
import type { AuthMethod, CredentialField, Placeholder } from "./integration.ts";
import { matchesWhole } from "./patterns.ts";
import { namesIn } from "./templates.ts";

/** What may be given for a name, whether it is a field of the auth method or a placeholder of the integration. */
type Rule = Pick<CredentialField, "pattern" | "enum" | "default" | "optional">;

const maxLength = 16_384;

/** The field's value, or its default; undefined for an optional one that is left out. Throws `InvalidRequest`. */
export function fieldValue(
  method: AuthMethod,
  field: CredentialField,
  given: string | undefined,
): string | undefined {
  const value = ruled(field.name, field, given);
  if (value === undefined) return undefined;
  const places = placesOf(method, field.name);
  if (!places.certificate) requireOneLine(field.name, value);
  if (places.header) requireSendable(field, value);
  if (places.username && value.includes(":")) {
    throw new InvalidRequest(`${field.name}: HTTP Basic has no user names with a colon`);
  }
  return value;
}

/** The placeholder's value, or its default. Throws `InvalidRequest`. */
export function placeholderValue(name: string, placeholder: Placeholder, given: string | undefined): string {
  const value = ruled(name, placeholder, given);
  if (value === undefined) throw missing(name, placeholder.example);
  requireOneLine(name, value);
  // Also for one whose pattern is broader than it should be.
  if (!placeSyntax[placeholder.in].test(value)) throw wrong(name, placeholder);
  return value;
}

const label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const placeSyntax: Readonly<Record<Placeholder["in"], RegExp>> = {
  host: new RegExp(`^${label}(?:\\.${label}){0,8}$`),
  path: /^(?!\.{1,2}$)[A-Za-z0-9._~-]{1,256}$/,
  header: /^[\x21-\x7e]{1,1024}$/,
  query: /^[\x20-\x7e]{1,1024}$/,
};

/** Refuses a value that is not one segment of a path. */
export function requirePathSegment(name: string, value: string): void {
  if (!placeSyntax.path.test(value))
    throw new InvalidRequest(`${name}: only letters, digits and ._~- go into a path`);
}

function ruled(
  name: string,
  rule: Rule & { readonly example?: string },
  given: string | undefined,
): string | undefined {
  const value = given === undefined || given === "" ? rule.default : given;
  if (value === undefined) {
    if (rule.optional === true) return undefined;
    throw missing(name, rule.example);
  }
  if (value.length > maxLength) throw new InvalidRequest(`${name}: at most ${maxLength} characters`);
  const allowed =
    rule.enum?.includes(value) === true ||
    (rule.pattern !== undefined && matchesWhole(rule.pattern, value)) ||
    (rule.enum === undefined && rule.pattern === undefined);
  if (!allowed) throw wrong(name, rule);
  return value;
}

function missing(name: string, example: string | undefined): InvalidRequest {
  return new InvalidRequest(`${name}: give a value${example === undefined ? "" : `, such as ${example}`}`);
}

/** Says what is expected, and not what was given, which may be a secret. */
function wrong(name: string, rule: Rule & { readonly example?: string }): InvalidRequest {
  const { enum: list, pattern, example } = rule;
  const expected = [
    list && `one of ${list.join(", ")}`,
    pattern && `a value that matches ${pattern}`,
    example && list === undefined && `such as ${example}`,
  ].filter((text) => text !== undefined && text !== false);
  return new InvalidRequest(`${name}: give ${expected.join(", ") || "another value"}`);
}

function requireOneLine(name: string, value: string): void {
  if (/[\p{Cc}\u2028\u2029]/u.test(value)) {
    throw new InvalidRequest(
      `${name}: line breaks and control characters are not sent; give the value alone`,
    );
  }
  if (!value.isWellFormed()) throw new InvalidRequest(`${name}: the text is not valid Unicode`);
}

function requireSendable({ name, secret }: CredentialField, value: string): void {
  const pasted = secret ? pastedProblem(value) : undefined;
  if (pasted !== undefined) throw new InvalidRequest(`${name}: ${pasted}`);
  if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value)) {
    throw new InvalidRequest(`${name}: only visible ASCII characters can be sent in a header`);
  }
}

function placesOf({ inject }: AuthMethod, name: string) {
  const standsIn = (templates: Readonly<Record<string, string>> | undefined) =>
    Object.values(templates ?? {}).some((template) => namesIn(template).includes(name));
  return {
    header: standsIn(inject.headers) || standsIn(inject.cookies),
    certificate: standsIn(inject.certificate),
    username: namesIn(inject.basic?.username ?? "").includes(name),
  };
}
