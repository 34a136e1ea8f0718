import { InvalidBaseUrl } from "#src/outbound/errors.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { requireTemplate } from "./definition-rules.ts";
import type { Placeholder, Template } from "./integration.ts";
import { expand, expandBaseUrl, namesIn } from "./templates.ts";

/** Throws `InvalidBaseUrl` or `AddressDenied` for a URL that can never be called. */
export type CheckUrl = (url: string) => unknown;

type Placeholders = Readonly<Record<string, Placeholder>>;

/** Refuses a template by which whoever makes a connection could have its credential sent anywhere. */
export function requireUrl(
  at: string,
  template: Template,
  placeholders: Placeholders,
  check: CheckUrl,
): void {
  requireTemplate(at, template, Object.keys(placeholders));
  const [, authority = "", path = ""] = /^https?:\/\/([^/]*)(.*)$/is.exec(template) ?? [];
  requirePlace(at, namesIn(authority), placeholders, ["host"]);
  requirePlace(at, namesIn(path), placeholders, ["host", "path"]);
  requirePinned(at, authority, placeholders);
  const examples: Readonly<Record<string, string>> = Object.fromEntries(
    Object.entries(placeholders).map(([name, { example }]) => [name, example]),
  );
  try {
    check(expand(template, examples));
    expandBaseUrl(template, examples);
  } catch (error) {
    // The examples are good by themselves, so it is what stands around them.
    if (error instanceof InvalidRequest) {
      throw new InvalidRequest(`${at}: write its host as it is sent, such as xn--bnk-qla.example`, {
        cause: error,
      });
    }
    if (!(error instanceof InvalidBaseUrl)) throw error;
    throw new InvalidRequest(error.message.replace(/^baseUrl/, at), { cause: error });
  }
}

function requirePlace(
  at: string,
  names: readonly string[],
  placeholders: Placeholders,
  places: readonly Placeholder["in"][],
): void {
  const wrong = names.find((name) => !places.some((place) => place === placeholders[name]?.in));
  if (wrong === undefined) return;
  throw new InvalidRequest(
    `${at}: {${wrong}} is declared for another place; declare it for the ${places.at(-1)}`,
  );
}

/** A value of a host is from a closed list, or stands before a literal domain of two labels at least. */
function requirePinned(at: string, authority: string, placeholders: Placeholders): void {
  const open = namesIn(authority).filter((name) => placeholders[name]?.pattern !== undefined);
  const last = open.at(-1);
  if (last === undefined) return;
  const lists = namesIn(authority).filter((name) => !open.includes(name));
  const literal = expand(
    authority,
    Object.fromEntries(lists.map((name) => [name, shortest(placeholders[name]?.enum ?? [])])),
  );
  if (/^(?:\.[a-z0-9-]+){2,}(?::\d+)?$/i.test(literal.split("}").at(-1) ?? "")) return;
  throw new InvalidRequest(
    `${at}: {${last}} is free and must stand before a domain, as in {${last}}.bank.example; or give it a list of values`,
  );
}

/** The value that leaves the fewest labels behind a free one. */
function shortest(list: readonly string[]): string {
  return list.toSorted((a, b) => a.split(".").length - b.split(".").length)[0] ?? "";
}
