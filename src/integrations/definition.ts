import { pathProblem } from "#src/outbound/path.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { LongWork } from "#src/platform/in-turns.ts";
import { requireOAuth } from "./definition-oauth.ts";
import { requireHeaderName, requireHeaders, requireName, requireOnce, requireOneLine, requireTemplate, requireToken } from "./definition-rules.ts"; // prettier-ignore
import { requireUrl, type CheckUrl } from "./definition-urls.ts";
import type { AuthMethod, CredentialField, Integration, Placeholder, ProbeCall } from "./integration.ts";
import { oauthUrls } from "./oauth-urls.ts";
import { requireFewPatterns, requirePattern } from "./patterns.ts";
import { expand, namesIn } from "./templates.ts";
import { fieldValue, placeholderValue } from "./values.ts";

/** Each connection holds a copy of its part, and a page of a list has many definitions. */
const maxLength = 64 * 1024;

/**
 * Refuses an integration by which a call could go wrong later: to another place, with a header that is not its own, or
 * with a value that nothing gives. The error names the member as it stands in JSON. Compiling its patterns takes time,
 * so others get their turn in between.
 */
export function* requireSound(integration: Integration, checkUrl: CheckUrl): LongWork<void> {
  const {
    placeholders = {},
    requiredHeaders = {},
    optionalHeaders = {},
    authMethods,
    probe,
    baseUrlFrom,
    openapiPath,
  } = integration;
  const placed = Object.keys(placeholders);
  if (JSON.stringify(integration).length > maxLength) {
    throw new InvalidRequest(`the definition: at most ${maxLength} characters of JSON are stored`);
  }
  requireFewPatterns(patternsOf(integration));
  if (baseUrlFrom !== undefined) requirePattern("baseUrlFrom.mustMatch", baseUrlFrom.mustMatch);
  for (const [name, placeholder] of Object.entries(placeholders)) {
    requirePlaceholder(name, placeholder);
    yield;
  }
  for (const [at, url] of urlsOf(integration)) requireUrl(at, url, placeholders, checkUrl);
  requireHeaders("requiredHeaders", requiredHeaders, placed);
  for (const [name, pattern] of Object.entries(optionalHeaders)) {
    requireHeaderName("optionalHeaders", name);
    requirePattern(`optionalHeaders.${name}`, pattern);
    yield;
  }
  const headers = [...Object.keys(requiredHeaders), ...Object.keys(optionalHeaders)];
  requireOnce(
    "optionalHeaders",
    headers.map((name) => name.toLowerCase()),
  );
  requireOnce(
    "authMethods",
    authMethods.map(({ id }) => id),
  );
  for (const [i, method] of authMethods.entries())
    yield* requireMethod(`authMethods[${i}]`, method, integration);
  if (probe !== undefined) requireProbe(probe, integration);
  const problem = openapiPath === undefined ? undefined : pathProblem(openapiPath);
  if (problem !== undefined) throw new InvalidRequest(`openapiPath: ${problem}`);
}

function patternsOf({ placeholders = {}, optionalHeaders = {}, authMethods }: Integration): string[] {
  const ruled = [...Object.values(placeholders), ...authMethods.flatMap(({ fields }) => fields)];
  return [...ruled.flatMap(({ pattern }) => pattern ?? []), ...Object.values(optionalHeaders)];
}

/** Each URL to which something of a connection goes, with its place. */
function urlsOf({ baseUrl, allowedHosts = [], authMethods, probe }: Integration): [string, string][] {
  return [
    ["baseUrl", baseUrl],
    ...allowedHosts.map((host, i) => [`allowedHosts[${i}]`, `https://${host}`] as const),
    ...authMethods.flatMap((method, i) => [
      [`authMethods[${i}].baseUrl`, method.baseUrl] as const,
      ...Object.entries(oauthUrls(method.oauth2)).map(
        ([name, url]) => [`authMethods[${i}].oauth2.${name}`, url] as const,
      ),
    ]),
    ["probe.baseUrl", probe?.baseUrl] as const,
  ].flatMap(([at, url]): [string, string][] => (at === undefined || url === undefined ? [] : [[at, url]]));
}

function requirePlaceholder(name: string, placeholder: Placeholder): void {
  const at = `placeholders.${name}`;
  requireName(at, name);
  const { pattern, enum: list = [], example } = placeholder;
  if (pattern === undefined && list.length === 0) {
    throw new InvalidRequest(`${at}: give a pattern, or a list of values`);
  }
  if (pattern !== undefined) requirePattern(`${at}.pattern`, pattern);
  for (const value of [example, placeholder.default ?? [], list].flat()) {
    requireAccepted(at, () => placeholderValue(name, placeholder, value));
  }
}

function requireField(at: string, method: AuthMethod, field: CredentialField): void {
  requireName(`${at}.name`, field.name);
  if (field.pattern !== undefined) requirePattern(`${at}.pattern`, field.pattern);
  for (const value of [field.default ?? [], field.enum ?? []].flat()) {
    requireAccepted(at, () => fieldValue(method, field, value));
  }
}

/** What an integration offers as an example, a default or a choice must be taken when it is given. */
function requireAccepted(at: string, accept: () => unknown): void {
  try {
    accept();
  } catch (error) {
    if (!(error instanceof InvalidRequest)) throw error;
    throw new InvalidRequest(`${at}: its own example, default or list is refused with "${error.message}"`);
  }
}

function* requireMethod(at: string, method: AuthMethod, integration: Integration): LongWork<void> {
  const { type, fields, inject, oauth2 } = method;
  const { placeholders = {}, optionalHeaders = {} } = integration;
  if ((type === "oauth2") !== (oauth2 !== undefined)) {
    throw new InvalidRequest(`${at}.oauth2: belongs to a method of the type oauth2, and to no other`);
  }
  if ((type === "mtls") !== (inject.certificate !== undefined)) {
    throw new InvalidRequest(
      `${at}.inject.certificate: belongs to a method of the type mtls, and to no other`,
    );
  }
  const placed = Object.keys(placeholders);
  for (const [i, field] of fields.entries()) {
    requireField(`${at}.fields[${i}]`, method, field);
    yield;
  }
  const tokens = oauth2 === undefined ? [] : ["accessToken"];
  // A value is given by one name: a secret must not be taken for a header as well, which is shown.
  const others = [...placed, ...tokens, ...Object.keys(optionalHeaders)];
  requireOnce(`${at}.fields`, [...others, ...fields.map(({ name }) => name)]);
  const shown = fields.filter(({ secret }) => !secret).map(({ name }) => name);
  if (oauth2 !== undefined) requireOAuth(`${at}.oauth2`, oauth2, [...placed, ...shown]);
  requireInjection(`${at}.inject`, method, [...placed, ...fields.map(({ name }) => name), ...tokens]);
}

function requireInjection(at: string, { inject, unsupported }: AuthMethod, known: readonly string[]): void {
  const { headers = {}, basic } = inject;
  requireHeaders(`${at}.headers`, headers, known);
  if (basic !== undefined && Object.keys(headers).some((name) => name.toLowerCase() === "authorization")) {
    throw new InvalidRequest(`${at}.basic: is sent as Authorization, which headers says already`);
  }
  for (const place of ["query", "cookies", "body", "basic", "certificate"] as const) {
    for (const [name, text] of Object.entries(inject[place] ?? {})) {
      requireOneLine(`${at}.${place}`, name);
      requireOneLine(`${at}.${place}.${name}`, text);
      requireTemplate(`${at}.${place}.${name}`, text, known);
    }
  }
  for (const name of Object.keys(inject.cookies ?? {})) requireToken(`${at}.cookies`, name);
  const puts = Object.values(inject).flatMap((texts: object) => Object.keys(texts));
  if (puts.length === 0 && unsupported === undefined) {
    throw new InvalidRequest(`${at}: say where the credential goes, such as headers`);
  }
}

function requireProbe(
  { path, headers = {} }: ProbeCall,
  { placeholders = {}, authMethods }: Integration,
): void {
  const shown = authMethods.flatMap(({ fields }) =>
    fields.filter(({ secret }) => !secret).map(({ name }) => name),
  );
  requireTemplate("probe.path", path, [...Object.keys(placeholders), ...shown]);
  const problem = pathProblem(expand(path, Object.fromEntries(namesIn(path).map((name) => [name, "x"]))));
  if (problem !== undefined) throw new InvalidRequest(`probe.path: ${problem}`);
  requireHeaders("probe.headers", headers, []);
}
