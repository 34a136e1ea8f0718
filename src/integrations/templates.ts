import { baseUrlText, readBaseUrl, type BaseUrl } from "#src/outbound/base-url.ts";
import { InvalidBaseUrl } from "#src/outbound/errors.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Template } from "./integration.ts";

type Values = Readonly<Record<string, string>>;

const variable = /\{([A-Za-z][A-Za-z0-9]*)\}/g;

/** The names in the template, each once. */
export function namesIn(template: Template): string[] {
  return [...new Set([...template.matchAll(variable)].map(([, name = ""]) => name))];
}

/** How many names stand in the template, each as often as it does. */
export function timesOfNames(template: Template): number {
  return [...template.matchAll(variable)].length;
}

/** What the template says by itself. */
export function withoutNames(template: Template): string {
  return template.replace(variable, "");
}

/** The text with each name's value in its place. A name without a value stays as it is. */
export function expand(template: Template, values: Values): string {
  return template.replace(variable, (whole, name: string) =>
    Object.hasOwn(values, name) ? (values[name] ?? whole) : whole,
  );
}

/**
 * The base URL with its values. It is read again as a whole, so that a value which its pattern should not have let
 * through leads nowhere else: not to another host, port or path.
 */
export function expandBaseUrl(template: Template, values: Values): string {
  const url = readExpanded(template, values);
  if (!keepsItsParts(template, url, values)) throw misplaced(template);
  return baseUrlText(url);
}

function readExpanded(template: Template, values: Values): BaseUrl {
  try {
    return readBaseUrl(expand(template, values));
  } catch (error) {
    // It speaks of a base URL, and whoever gave a value for a part of it has not given one.
    throw error instanceof InvalidBaseUrl ? misplaced(template) : error;
  }
}

/** Like a base URL's, but as it is written: a slash at its end may matter, as in an issuer. */
export function expandUrl(template: Template, values: Values): string {
  expandBaseUrl(template, values);
  return expand(template, values);
}

function misplaced(template: Template): InvalidRequest {
  return new InvalidRequest(
    `${namesIn(template).join(", ")}: cannot stand in ${template}; give it as the service shows it`,
  );
}

/** Tells host and path apart before any value is in them. */
const parts = /^https?:\/\/([^/:]+)(?::\d+)?(\/.*)?$/s;

/**
 * Whether host and path are exactly those of the template with the values in them, none of them empty: then what the
 * template says literally before and behind a value is still there, and the parser has repaired nothing. A value that
 * brings a port is not in the host that is read.
 */
function keepsItsParts(template: Template, url: BaseUrl, values: Values): boolean {
  if (namesIn(template).length === 0) return true;
  const [, host = "", path = ""] = parts.exec(template) ?? [];
  return (
    namesIn(template).every((name) => (values[name] ?? "") !== "") &&
    url.host === expand(host, values).toLowerCase() &&
    segmentsMatch(path, url.path, values)
  );
}

function segmentsMatch(template: string, path: string, values: Values): boolean {
  const wanted = template.replace(/\/$/, "").split("/");
  const found = path.split("/");
  return wanted.length === found.length && wanted.every((segment, i) => expand(segment, values) === found[i]);
}
