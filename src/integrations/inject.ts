import { InvalidOutboundRequest } from "#src/outbound/errors.ts";
import { isReservedHeader } from "#src/outbound/headers.ts";
import type { Injection } from "#src/outbound/injection.ts";
import type { CredentialField, InjectionTemplate, Recipe, Template } from "./integration.ts";
import { soughtIn } from "./sought.ts";
import { expand, namesIn } from "./templates.ts";

/** Fields by name: what the connection says, and its secrets. */
export type Values = Readonly<Record<string, string>>;

/**
 * What a request through a connection gets from its recipe: the headers that each request has, and the credential,
 * which replaces them. Throws for a stored value that its place cannot carry: nothing is left out of a value or
 * escaped, so that none can become a further header, parameter or cookie.
 */
export function inject(
  { method, headers: fixed }: Pick<Recipe, "method" | "headers">,
  params: Values,
  secrets: Values,
): Injection {
  const { inject: template, fields } = method;
  const values = { ...params, ...secrets };
  const isAbsent = ({ name, optional }: CredentialField) => optional === true && (values[name] ?? "") === "";
  const absent = new Set(fields.filter(isAbsent).map(({ name }) => name));
  const filling: Filling = { values, absent };
  const basic = template.basic && basicOf(template.basic, filling);
  const headers = {
    ...byLowerCase(checked(fixed, places.header)),
    ...byLowerCase(filled(template.headers, places.header, filling)),
    ...(basic && { authorization: basic.header }),
  };
  const query = filled(template.query, places.query, filling);
  const cookies = filled(template.cookies, places.cookie, filling);
  const body = filled(template.body, places.body, filling);
  return {
    headers,
    query,
    cookies,
    body,
    certificate: template.certificate && certificateOf(template.certificate, filling),
    secrets: soughtIn(Object.values(secrets), { headers, query, cookies, body, basic }),
  };
}

interface Filling {
  readonly values: Values;
  /** Optional fields that were not given. A template that asks for one is left out. */
  readonly absent: ReadonlySet<string>;
}

/** Where a text goes, and what it may be there. */
interface Place {
  readonly name?: RegExp;
  readonly value: RegExp;
  /** For whoever stored another one. */
  readonly rule: string;
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** No control characters, and no half of a surrogate pair, which UTF-8 cannot write. */
const oneLine = /^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u;

const places = {
  header: {
    name: token,
    value: /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/,
    rule: "a header carries visible ASCII characters, and at least one",
  },
  query: { value: oneLine, rule: "a query carries no line breaks and control characters" },
  cookie: {
    name: token,
    value: /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/,
    rule: "a cookie carries visible ASCII characters except quotes, commas, semicolons and backslashes",
  },
  body: { value: oneLine, rule: "a body carries no line breaks and control characters in it" },
  // RFC 7617, 2: the first colon ends the user name.
  username: { value: /^[^\p{Cc}\p{Cs}:]*$/u, rule: "a user name has no colon and no control characters" },
  password: { value: /^[^\p{Cc}\p{Cs}]*$/u, rule: "a password has no control characters" },
  certificate: { value: /^[^\0]+$/, rule: "a certificate and its key are in PEM" },
} as const satisfies Record<string, Place>;

function byLowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      if (isReservedHeader(name)) {
        throw new InvalidOutboundRequest(
          `the integration puts the header ${name} into requests, which only Patchbay may set; ` +
            "take it out there, and store the credential again",
        );
      }
      return [name.toLowerCase(), value];
    }),
  );
}

/** A part that is left out is empty: Basic always has both. */
function basicOf({ username, password }: NonNullable<InjectionTemplate["basic"]>, filling: Filling) {
  const user = fill(username, places.username, filling) ?? "";
  const pair = `${user}:${fill(password, places.password, filling) ?? ""}`;
  return { pair, header: `Basic ${Buffer.from(pair).toString("base64")}` };
}

function certificateOf(templates: NonNullable<InjectionTemplate["certificate"]>, filling: Filling) {
  const certificate = fill(templates.certificate, places.certificate, filling);
  const privateKey = fill(templates.privateKey, places.certificate, filling);
  return certificate === undefined || privateKey === undefined ? undefined : { certificate, privateKey };
}

function filled(
  templates: Readonly<Record<string, Template>> = {},
  place: Place,
  filling: Filling,
): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [name, template] of Object.entries(templates)) {
    requireName(name, place);
    const text = fill(template, place, filling);
    if (text !== undefined) texts[name] = text;
  }
  return texts;
}

/** Texts that are no templates. */
function checked(texts: Readonly<Record<string, string>>, place: Place): Readonly<Record<string, string>> {
  for (const [name, text] of Object.entries(texts)) {
    requireName(name, place);
    if (!place.value.test(text)) throw unfit("", place, {});
  }
  return texts;
}

function requireName(name: string, place: Place): void {
  if ((place.name ?? oneLine).test(name)) return;
  throw new InvalidOutboundRequest(
    "the integration injects under a name that cannot be sent; correct it there, and store the credential again",
  );
}

/** The template with its values; undefined if it asks for an absent one. */
function fill(template: Template, place: Place, { values, absent }: Filling): string | undefined {
  const names = namesIn(template);
  if (names.some((name) => absent.has(name))) return undefined;
  for (const name of names) {
    // What was prepared to be stored gives all that it asks for.
    if (!Object.hasOwn(values, name)) throw new Error(`the template asks for ${name}, which nothing gives`);
  }
  const text = expand(template, values);
  if (!place.value.test(text)) throw unfit(template, place, values);
  return text;
}

/** Names the field that does not fit, or all that the template asks for; never a value. */
function unfit(template: Template, { value: fits, rule }: Place, values: Values): InvalidOutboundRequest {
  const names = namesIn(template);
  const culprit = names.find((name) => !fits.test(values[name] ?? ""));
  const field = culprit ?? names.join(", ");
  return new InvalidOutboundRequest(
    field === ""
      ? `the integration injects a text that cannot be sent: ${rule}; correct it there, and store the credential again`
      : `${field}: the stored value cannot be sent: ${rule}; store the credential again`,
  );
}
