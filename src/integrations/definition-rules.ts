import { isReservedHeader } from "#src/outbound/headers.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Template } from "./integration.ts";
import { namesIn, timesOfNames, withoutNames } from "./templates.ts";

const maxNameLength = 32;
/** Each may stand for a long value. */
const maxNames = 8;

/** Refuses a name that templates cannot hold, or that every object has a member of. */
export function requireName(at: string, name: string): void {
  if (/^[A-Za-z][A-Za-z0-9]*$/.test(name) && name.length <= maxNameLength && !(name in {})) return;
  throw new InvalidRequest(
    `${at}: a name begins with a letter, goes on with letters and digits, and has at most ${maxNameLength}`,
  );
}

/** Refuses a list in which a name is twice. */
export function requireOnce(at: string, names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new InvalidRequest(`${at}: ${twice} is there twice`);
}

/** Refuses a template that asks for what nothing gives, and braces that are no name's. */
export function requireTemplate(at: string, template: Template, known: readonly string[]): void {
  if (/[{}]/.test(withoutNames(template))) {
    throw new InvalidRequest(`${at}: braces are only around a name, as in {token}`);
  }
  if (timesOfNames(template) > maxNames) {
    throw new InvalidRequest(`${at}: a template has at most ${maxNames} names`);
  }
  const unknown = namesIn(template).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const list = known.length === 0 ? "there is none to name" : `give one of ${known.join(", ")}`;
  throw new InvalidRequest(`${at}: {${unknown}} is declared nowhere; ${list}`);
}

/** Refuses headers that only Patchbay sets, and what is no header. */
export function requireHeaders(
  at: string,
  headers: Readonly<Record<string, Template>>,
  known: readonly string[],
): void {
  requireOnce(
    at,
    Object.keys(headers).map((name) => name.toLowerCase()),
  );
  for (const [name, text] of Object.entries(headers)) {
    requireHeaderName(at, name);
    requireTemplate(`${at}.${name}`, text, known);
    if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(text)) {
      throw new InvalidRequest(`${at}.${name}: a header carries visible ASCII characters, and at least one`);
    }
  }
}

/** Refuses a header that only Patchbay sets, and what is no header's name. */
export function requireHeaderName(at: string, name: string): void {
  requireToken(at, name);
  if (isReservedHeader(name)) {
    throw new InvalidRequest(`${at}.${name}: only Patchbay sets this header; leave it out`);
  }
}

/** Refuses what cannot be the name of a header, or of a cookie in one. */
export function requireToken(at: string, name: string): void {
  if (/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) return;
  throw new InvalidRequest(`${at}: a name has characters that names of headers and cookies cannot have`);
}

/** Refuses control characters and halves of characters. */
export function requireOneLine(at: string, text: string): void {
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(text)) {
    throw new InvalidRequest(`${at}: leave out line breaks and control characters`);
  }
}
