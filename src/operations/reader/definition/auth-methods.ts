import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { requireSound } from "#src/integrations/definition.ts";
import type { AuthMethod, InjectionTemplate, Placeholder, Template } from "#src/integrations/integration.ts";
import { oauthUrls } from "#src/integrations/oauth-urls.ts";
import { isObject } from "#src/json/object.ts";
import { readBaseUrl } from "#src/outbound/base-url.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { atOnce } from "#src/platform/in-turns.ts";
import { present } from "#src/platform/present.ts";
import type { ImportProblem } from "#src/operations/import/imported.ts";
import type { Requirement } from "./requirements.ts";
import { waysOf, type Way } from "./security-schemes.ts";
import { lineOf, pointerTo, takeId, takeName, textOf } from "./text.ts";

/** Where the service is that the methods are of. */
export interface MethodPlace {
  readonly baseUrl: Template | undefined;
  readonly placeholders: Readonly<Record<string, Placeholder>>;
  readonly names: ReadonlyMap<string, string>;
}

const mostMethods = 10;
const mostFields = 10;
const longestUrl = 2_048;
/** Of all methods together: a definition has at most 64 KiB. */
const maxLength = 48 * 1024;

/** A method for each set of security schemes that operations ask for, the usual one first. */
export function authMethodsOf(
  schemes: JsonObject,
  requirements: readonly Requirement[],
  place: MethodPlace,
  report: (problem: ImportProblem) => void,
): AuthMethod[] {
  const methods: AuthMethod[] = [];
  const ids = new Set<string>();
  for (const { names, scopes, pointer } of requirements) {
    const refuse = (reason: string) => report({ pointer, reason });
    for (const made of methodsOf(schemes, names, scopes, place, report)) {
      if (typeof made === "string") {
        refuse(made);
        continue;
      }
      const { suffix, ...way } = made;
      const method: AuthMethod = present({ id: takeId([...names, suffix ?? ""].join("-"), ids), ...way });
      const reason =
        methods.length === mostMethods || JSON.stringify([...methods, method]).length > maxLength
          ? `no auth method is made of it: an integration has at most ${mostMethods}, in ${maxLength} characters`
          : problemOf(method, place);
      if (reason === undefined) methods.push(method);
      else refuse(reason);
    }
  }
  return methods;
}

/** A method for each way to use these schemes together, or why there is none. */
function methodsOf(
  schemes: JsonObject,
  names: readonly string[],
  scopes: ReadonlyMap<string, readonly string[]>,
  place: MethodPlace,
  report: (problem: ImportProblem) => void,
): (Way | string)[] {
  if (names.length > mostFields)
    return [`asks for more than ${mostFields} credentials; no auth method is made of it`];
  const taken = new Set(["accessToken", ...Object.keys(place.placeholders)]);
  const each = names.map((name) => {
    const found = schemeOf(schemes, name);
    if (found === undefined)
      return `the security scheme ${shownName(name)} is not declared; no auth method is made of it`;
    const ways = waysOf(found, {
      ...place,
      scopes: scopes.get(name) ?? [],
      fieldName: (usual) => takeName(names.length === 1 ? usual : named(name, usual), taken),
      omit: (at, reason) =>
        report({ pointer: pointerTo("components", "securitySchemes", name, ...at), reason }),
    });
    return typeof ways === "string"
      ? `the security scheme ${shownName(name)} ${ways}; no auth method is made of it`
      : ways;
  });
  const problem = each.find((ways) => typeof ways === "string");
  if (problem !== undefined) return [problem];
  const [first = [], ...others] = each.filter((ways) => typeof ways !== "string");
  return others.reduce<(Way | string)[]>(
    (all, ways) =>
      all.flatMap((one) => ways.map((other) => (typeof one === "string" ? one : together(one, other)))),
    [...first],
  );
}

/** The scheme alone is a key and nothing else; beside others, it is called by its name. */
function named(scheme: string, usual: string): string {
  return usual === "apiKey" || usual === "token" ? scheme : `${scheme} ${usual}`;
}

/** Both in one method, or why that cannot be. */
function together(one: Way, other: Way): Way | string {
  const isOAuth = one.oauth2 !== undefined || other.oauth2 !== undefined;
  if (isOAuth) {
    return "asks for OAuth and another credential at once, which is not supported; no auth method is made of it";
  }
  const inject = joined(one.inject, other.inject);
  if (inject === undefined) return "asks for two credentials in the same place; no auth method is made of it";
  const type: Way["type"] = one.type === "mtls" || other.type === "mtls" ? "mtls" : "custom";
  return present({
    type,
    label: lineOf(`${one.label}, ${other.label}`, 128) ?? "Several credentials",
    note: lineOf([one.note, other.note].filter((note) => note !== undefined).join(" "), 500),
    fields: [...one.fields, ...other.fields],
    inject,
  });
}

/** What both put into requests; undefined if they would put it in the same place. */
function joined(one: InjectionTemplate, other: InjectionTemplate): InjectionTemplate | undefined {
  const places = placesOf(one);
  if (placesOf(other).some((place) => places.includes(place))) return undefined;
  return present({
    headers: both(one.headers, other.headers),
    query: both(one.query, other.query),
    cookies: both(one.cookies, other.cookies),
    basic: one.basic ?? other.basic,
    certificate: one.certificate ?? other.certificate,
  });
}

function both(one: InjectionTemplate["headers"], other: InjectionTemplate["headers"]) {
  return one === undefined && other === undefined ? undefined : { ...one, ...other };
}

function placesOf({
  headers = {},
  query = {},
  cookies = {},
  basic,
  certificate,
}: InjectionTemplate): string[] {
  return [
    ...Object.keys(headers).map((name) => `header ${name.toLowerCase()}`),
    ...Object.keys(query).map((name) => `query ${name}`),
    ...Object.keys(cookies).map((name) => `cookie ${name}`),
    ...(basic === undefined ? [] : ["header authorization"]),
    ...(certificate === undefined ? [] : ["certificate"]),
  ];
}

/** Follows references within the document. */
function schemeOf(schemes: JsonObject, name: string): JsonObject | undefined {
  let at = name;
  for (let hops = 0; hops < 10; hops++) {
    const found: JsonValue | undefined = Object.hasOwn(schemes, at) ? schemes[at] : undefined;
    if (!isObject(found)) return undefined;
    const [, target] = /^#\/components\/securitySchemes\/([^/]+)$/.exec(textOf(found["$ref"]) ?? "") ?? [];
    if (target === undefined) return "$ref" in found ? undefined : found;
    at = target.replaceAll("~1", "/").replaceAll("~0", "~");
  }
  return undefined;
}

/** Why it cannot be stored; undefined for a sound one. */
function problemOf(method: AuthMethod, { baseUrl, placeholders }: MethodPlace): string | undefined {
  try {
    requireBounded(method);
    const integration = present({
      slug: "custom:imported",
      name: "Imported",
      baseUrl,
      placeholders,
      version: 1,
    });
    atOnce(requireSound({ ...integration, authMethods: [method] }, readBaseUrl));
    return undefined;
  } catch (error) {
    if (!(error instanceof InvalidRequest)) throw error;
    return `no auth method is made of it: ${error.message.replace("authMethods[0].", "")}`;
  }
}

/** What the contract bounds where an integration is written by hand. */
function requireBounded({ fields, inject, oauth2 }: AuthMethod): void {
  if (fields.length > mostFields) throw new InvalidRequest(`fields: at most ${mostFields}`);
  for (const [name, url] of Object.entries(oauthUrls(oauth2))) {
    if (url.length > longestUrl) throw new InvalidRequest(`oauth2.${name}: at most ${longestUrl} characters`);
  }
  const extra = Object.entries(oauth2?.extraAuthorizationParameters ?? {});
  if (extra.length > 20)
    throw new InvalidRequest("oauth2.authorizationUrl: at most 20 parameters in its query");
  const names = Object.values(inject).flatMap((texts: object) => Object.keys(texts));
  const isLong = [...names, ...extra.map(([name]) => name)].some((name) => name.length > 128);
  if (isLong || extra.some(([, value]) => value.length > 1_024)) {
    throw new InvalidRequest("names have at most 128 characters, and values 1024");
  }
}

function shownName(name: string): string {
  return JSON.stringify(lineOf(name, 60) ?? "");
}
