import type { Injection } from "#src/outbound/injection.ts";
import type { InjectionTemplate, Template } from "./integration.ts";

/** Fields by name: what the connection says, and its secrets. */
export type Values = Readonly<Record<string, string>>;

/** What a request through a connection gets from its credential. */
export function inject(template: InjectionTemplate, params: Values, secrets: Values): Injection {
  const values = { ...params, ...secrets };
  const filled = (templates: Readonly<Record<string, Template>> = {}) =>
    Object.fromEntries(Object.entries(templates).map(([name, text]) => [name, fill(text, values)]));
  const headers = Object.fromEntries(
    Object.entries(filled(template.headers)).map(([name, value]) => [name.toLowerCase(), value]),
  );
  return {
    headers,
    query: filled(template.query),
    cookies: filled(template.cookies),
    body: filled(template.body),
    secrets: Object.values(secrets).map((secret) => soughtFor(secret, Object.values(headers))),
  };
}

/**
 * A secret of a few bytes is in most answers by chance (a dummy key "none" would break every call), so a short one is
 * sought as the header value that carries it. That is how services echo it.
 */
function soughtFor(secret: string, carriers: readonly string[]): string {
  if (secret.length >= shortestSought) return secret;
  return carriers.find((value) => value.includes(secret)) ?? secret;
}

const shortestSought = 8;

function fill(template: Template, values: Values): string {
  return template.replace(/\{([A-Za-z][A-Za-z0-9]*)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`the template asks for ${name}, which nothing gives`);
    return value;
  });
}
