import { baseUrlText, readBaseUrl } from "#src/outbound/base-url.ts";
import { certificateProblem } from "#src/outbound/certificate.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { AuthMethod, Integration, ProbeCall, Recipe, Template } from "./integration.ts";
import { oauthUrls } from "./oauth-urls.ts";
import { matchesWhole } from "./patterns.ts";
import { expand, expandBaseUrl, expandUrl, namesIn } from "./templates.ts";
import { fieldValue, placeholderValue, requirePathSegment } from "./values.ts";

/** What a connection is made of: where its calls go and how, and what is filled in, the secrets apart. */
export interface Prepared {
  /** In the form to store. Whether it may be called is for `outbound.checkBaseUrl` to say. */
  readonly baseUrl: string;
  readonly recipe: Recipe;
  readonly params: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
}

/** What a person gives to connect. */
export interface GivenValues {
  /** Only for an integration that has none of its own. */
  readonly baseUrl?: string | undefined;
  /** By the name of a field, a placeholder or an optional header. An empty text is as good as none. */
  readonly values: Readonly<Record<string, string>>;
}

/** The integration's method of this id. Throws `InvalidRequest`. */
export function methodOf(integration: Integration, id: string): AuthMethod {
  const method = integration.authMethods.find((one) => one.id === id);
  if (method === undefined) {
    const ids = integration.authMethods.map((one) => one.id).join(", ");
    throw new InvalidRequest(`authMethod: ${integration.slug} has ${ids}; give one of them`);
  }
  if (method.unsupported !== undefined) {
    throw new InvalidRequest(`authMethod: ${method.id} is not supported, because ${method.unsupported}`);
  }
  return method;
}

/**
 * Checks what was given, and fills it into the integration's URLs and headers. Throws `InvalidRequest`, which names
 * the field and holds no value that was given.
 */
export function prepare(integration: Integration, method: AuthMethod, given: GivenValues): Prepared {
  const values = new Map(Object.entries(given.values));
  refuseUnknown(integration, method, values);
  const placed = placeholderValues(integration, method, values);
  const { params, secrets } = fieldValues(method, values);
  const optional = optionalHeaders(integration, values);
  const baseUrl = baseUrlOf(integration, method, given.baseUrl, placed);
  requireCertificate(method, { ...params, ...secrets }, baseUrl);
  const recipe: Recipe = {
    version: integration.version,
    method: expandMethod(method, { ...placed, ...params }),
    allowedHosts: integration.allowedHosts ?? [],
    headers: { ...expandAll(integration.requiredHeaders ?? {}, placed), ...optional },
    ...(method.oauth2 && integration.baseUrlFrom && { baseUrlFrom: integration.baseUrlFrom }),
    ...probeOf(integration, { ...placed, ...params }),
  };
  requireBounded(recipe, { ...placed, ...params, ...secrets });
  return {
    baseUrl,
    recipe,
    params: { ...placed, ...params, ...optional },
    secrets,
  };
}

/** The names of the integration's placeholders that stand in what the method uses. */
export function placeholdersOf(integration: Integration, method: AuthMethod): string[] {
  const { probe, requiredHeaders = {}, placeholders = {} } = integration;
  const used = new Set(
    [
      method.baseUrl ?? integration.baseUrl ?? "",
      ...Object.values(oauthUrls(method.oauth2)),
      ...Object.values(method.inject).flatMap((templates: Readonly<Record<string, Template>>) =>
        Object.values(templates),
      ),
      ...Object.values(requiredHeaders),
      probe?.baseUrl ?? "",
      probe?.path ?? "",
    ].flatMap(namesIn),
  );
  return Object.keys(placeholders).filter((name) => used.has(name));
}

/** What the method may be given, beside its fields. */
function refuseUnknown(
  integration: Integration,
  method: AuthMethod,
  values: ReadonlyMap<string, string>,
): void {
  const taken = [
    ...method.fields.map(({ name }) => name),
    ...placeholdersOf(integration, method),
    ...Object.keys(integration.optionalHeaders ?? {}),
  ];
  for (const name of values.keys()) {
    if (taken.includes(name)) continue;
    // What stands in the place of a name may be a secret that was put there by mistake; those have digits.
    const shown = /^[A-Za-z][A-Za-z-]{0,31}$/.test(name) ? `${name}: is not` : "a name that is given is not";
    const known = taken.length === 0 ? "it takes nothing" : `it takes ${taken.join(", ")}`;
    throw new InvalidRequest(`${shown} asked for by ${method.id} of ${integration.slug}; ${known}`);
  }
}

function placeholderValues(
  integration: Integration,
  method: AuthMethod,
  values: ReadonlyMap<string, string>,
) {
  const { placeholders = {} } = integration;
  const wanted = placeholdersOf(integration, method);
  return Object.fromEntries(
    Object.entries(placeholders)
      .filter(([name]) => wanted.includes(name))
      .map(([name, placeholder]) => [name, placeholderValue(name, placeholder, values.get(name))]),
  );
}

function fieldValues(method: AuthMethod, values: ReadonlyMap<string, string>) {
  const found = method.fields.flatMap((field) => {
    const value = fieldValue(method, field, values.get(field.name));
    return value === undefined ? [] : [{ field, entry: [field.name, value] as const }];
  });
  const those = (secret: boolean) =>
    Object.fromEntries(found.filter(({ field }) => field.secret === secret).map(({ entry }) => entry));
  return { params: those(false), secrets: those(true) };
}

/** Refuses a client certificate that could not be shown, which would come out with the first call only. */
function requireCertificate(
  { inject: { certificate: pair } }: AuthMethod,
  values: Readonly<Record<string, string>>,
  baseUrl: string,
): void {
  if (pair === undefined) return;
  if (!baseUrl.startsWith("https://")) {
    throw new InvalidRequest("baseUrl: a client certificate is shown only over TLS, so give an https:// URL");
  }
  const problem = certificateProblem(expand(pair.certificate, values), expand(pair.privateKey, values));
  if (problem !== undefined) throw new InvalidRequest(problem);
}

/** Calls hold the recipe and what it puts into their requests. A long value in many templates would fill memory. */
const maxLength = 128 * 1024;

function requireBounded(recipe: Recipe, values: Readonly<Record<string, string>>): void {
  const { certificate: _, ...inject } = recipe.method.inject;
  const templates = Object.values(inject).flatMap((one: Readonly<Record<string, Template>>) =>
    Object.values(one),
  );
  const injected = templates.reduce((sum, template) => sum + expand(template, values).length, 0);
  if (JSON.stringify(recipe).length + injected <= maxLength) return;
  throw new InvalidRequest(
    `what is given becomes more than ${maxLength} characters in the integration's templates; give shorter values`,
  );
}

function optionalHeaders({ optionalHeaders = {} }: Integration, values: ReadonlyMap<string, string>) {
  return Object.fromEntries(
    Object.entries(optionalHeaders).flatMap(([name, pattern]) => {
      const value = values.get(name) ?? "";
      if (value === "") return [];
      if (!matchesWhole(pattern, value) || !/^[\x21-\x7e]+$/.test(value)) {
        throw new InvalidRequest(`${name}: give a value that matches ${pattern}`);
      }
      return [[name, value]];
    }),
  );
}

function baseUrlOf(
  integration: Integration,
  method: AuthMethod,
  given: string | undefined,
  placed: Readonly<Record<string, string>>,
): string {
  const template = method.baseUrl ?? integration.baseUrl;
  if (template === undefined) {
    if (given === undefined) throw new InvalidRequest("baseUrl: give the URL where the service is");
    return baseUrlText(readBaseUrl(given));
  }
  const own = expandBaseUrl(template, placed);
  if (given !== undefined && baseUrlText(readBaseUrl(given)) !== own) {
    throw new InvalidRequest(`baseUrl: ${integration.slug} is at ${own}; give that, or leave it out`);
  }
  return own;
}

function expandMethod(method: AuthMethod, params: Readonly<Record<string, string>>): AuthMethod {
  const { oauth2, baseUrl } = method;
  const urls = Object.entries(oauthUrls(oauth2)).map(([name, url]) => [name, expandUrl(url, params)]);
  const extra = oauth2?.extraTokenParameters;
  return {
    ...method,
    ...(baseUrl !== undefined && { baseUrl: expandBaseUrl(baseUrl, params) }),
    ...(oauth2 && {
      oauth2: {
        ...oauth2,
        ...Object.fromEntries(urls),
        ...(extra && { extraTokenParameters: expandAll(extra, params) }),
      },
    }),
  };
}

/** Its path may hold fields beside placeholders, such as an account's id; a method without them is not probed so. */
function probeOf({ probe }: Integration, params: Readonly<Record<string, string>>): { probe?: ProbeCall } {
  if (probe === undefined) return {};
  const { baseUrl, path } = probe;
  const names = namesIn(path);
  if (!names.every((name) => Object.hasOwn(params, name))) return {};
  for (const name of names) requirePathSegment(name, params[name] ?? "");
  return {
    probe: {
      ...probe,
      path: expand(path, params),
      ...(baseUrl !== undefined && { baseUrl: expandBaseUrl(baseUrl, params) }),
    },
  };
}

function expandAll(templates: Readonly<Record<string, Template>>, values: Readonly<Record<string, string>>) {
  return Object.fromEntries(
    Object.entries(templates).map(([name, template]) => [name, expand(template, values)]),
  );
}
