import { InvalidOutboundRequest } from "#src/outbound/errors.ts";
import { isReservedHeader } from "#src/outbound/headers.ts";
import type { Injection } from "#src/outbound/injection.ts";
import type { Recipe, Template } from "./integration.ts";
import { soughtIn } from "./sought.ts";
import { expand, namesIn } from "./templates.ts";

/** Fields by name: what the connection says, and its secrets. */
export type Values = Readonly<Record<string, string>>;

/**
 * What a request through a connection gets from its recipe: the headers that each request has, and the credential,
 * which replaces them. Throws for a stored value that its place cannot carry: nothing is left out of a value or
 * escaped, so that none can become a further header, parameter or cookie.
 */
export function inject(recipe: SentByRecipe, params: Values, secrets: Values): Injection {
  const blanks = blanksOf(recipe);
  const values = { ...params, ...secrets };
  const absent = new Set(blanks.optional.filter((name) => (values[name] ?? "") === ""));
  const filling: Filling = { values, absent };
  const basic = blanks.basic && basicOf(blanks.basic, filling);
  const headers = {
    ...blanks.fixed,
    ...filled(blanks.headers, places.header, filling),
    ...(basic && { authorization: basic.header }),
  };
  const query = filled(blanks.query, places.query, filling);
  const cookies = filled(blanks.cookies, places.cookie, filling);
  const body = filled(blanks.body, places.body, filling);
  return {
    headers,
    query,
    cookies,
    body,
    certificate: blanks.certificate && certificateOf(blanks.certificate, filling),
    secrets: soughtIn(Object.values(secrets), { headers, query, cookies, body, basic }),
  };
}

type SentByRecipe = Pick<Recipe, "method" | "headers">;

/** A template that was read. */
interface Blank {
  /** Of the header, parameter, cookie or member that it becomes, if it has one. */
  readonly name: string;
  readonly template: Template;
  /** The fields that it asks for. */
  readonly fields: readonly string[];
}

/** The recipes that calls were made by, read: the same one serves many calls, and it takes as long as all the rest. */
const read = new WeakMap<SentByRecipe, ReturnType<typeof readBlanks>>();

function blanksOf(recipe: SentByRecipe): ReturnType<typeof readBlanks> {
  const known = read.get(recipe);
  if (known !== undefined) return known;
  const blanks = readBlanks(recipe);
  read.set(recipe, blanks);
  return blanks;
}

function readBlanks({ method, headers: fixed }: SentByRecipe) {
  const { inject: template, fields } = method;
  const { basic, certificate } = template;
  return {
    optional: fields.filter(({ optional }) => optional === true).map(({ name }) => name),
    fixed: byLowerCase(checked(fixed, places.header)),
    headers: blanksIn(byLowerCase(named(template.headers, places.header))),
    query: blanksIn(named(template.query, places.query)),
    cookies: blanksIn(named(template.cookies, places.cookie)),
    body: blanksIn(named(template.body, places.body)),
    basic: basic && { username: blankOf("", basic.username), password: blankOf("", basic.password) },
    certificate: certificate && {
      certificate: blankOf("", certificate.certificate),
      privateKey: blankOf("", certificate.privateKey),
    },
  };
}

function blanksIn(templates: Readonly<Record<string, Template>>): Blank[] {
  return Object.entries(templates).map(([name, template]) => blankOf(name, template));
}

function blankOf(name: string, template: Template): Blank {
  return { name, template, fields: namesIn(template) };
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
function basicOf({ username, password }: { username: Blank; password: Blank }, filling: Filling) {
  const user = fill(username, places.username, filling) ?? "";
  const pair = `${user}:${fill(password, places.password, filling) ?? ""}`;
  return { pair, header: `Basic ${Buffer.from(pair).toString("base64")}` };
}

function certificateOf(blanks: { certificate: Blank; privateKey: Blank }, filling: Filling) {
  const certificate = fill(blanks.certificate, places.certificate, filling);
  const privateKey = fill(blanks.privateKey, places.certificate, filling);
  return certificate === undefined || privateKey === undefined ? undefined : { certificate, privateKey };
}

function filled(blanks: readonly Blank[], place: Place, filling: Filling): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const blank of blanks) {
    const text = fill(blank, place, filling);
    if (text !== undefined) texts[blank.name] = text;
  }
  return texts;
}

/** Texts that are no templates. */
function checked(texts: Readonly<Record<string, string>>, place: Place): Readonly<Record<string, string>> {
  for (const text of Object.values(named(texts, place))) {
    if (!place.value.test(text)) throw unfit([], place, {});
  }
  return texts;
}

/** What is under names that can be sent. */
function named(texts: Readonly<Record<string, string>> = {}, place: Place): Readonly<Record<string, string>> {
  for (const name of Object.keys(texts)) requireName(name, place);
  return texts;
}

function requireName(name: string, place: Place): void {
  if ((place.name ?? oneLine).test(name)) return;
  throw new InvalidOutboundRequest(
    "the integration injects under a name that cannot be sent; correct it there, and store the credential again",
  );
}

/** The template with its values; undefined if it asks for an absent one. */
function fill({ template, fields }: Blank, place: Place, { values, absent }: Filling): string | undefined {
  if (fields.some((name) => absent.has(name))) return undefined;
  for (const name of fields) {
    // What was prepared to be stored gives all that it asks for.
    if (!Object.hasOwn(values, name)) throw new Error(`the template asks for ${name}, which nothing gives`);
  }
  const text = expand(template, values);
  if (!place.value.test(text)) throw unfit(fields, place, values);
  return text;
}

/** Names the field that does not fit, or all that the template asks for; never a value. */
function unfit(
  names: readonly string[],
  { value: fits, rule }: Place,
  values: Values,
): InvalidOutboundRequest {
  const culprit = names.find((name) => !fits.test(values[name] ?? ""));
  const field = culprit ?? names.join(", ");
  return new InvalidOutboundRequest(
    field === ""
      ? `the integration injects a text that cannot be sent: ${rule}; correct it there, and store the credential again`
      : `${field}: the stored value cannot be sent: ${rule}; store the credential again`,
  );
}
