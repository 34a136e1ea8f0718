import { isDeepStrictEqual } from "node:util";
import type { Integration } from "#src/integrations/integration.ts";

/** How an integration differs from what it was, for people. */
export function changesBetween(before: Integration | undefined, after: Integration): string[] {
  const changes: string[] = [];
  if (before === undefined) changes.push(`the integration ${JSON.stringify(after.name)} is new`);
  else if (before.name !== after.name) changes.push(`the name is ${JSON.stringify(after.name)} now`);
  if (before?.baseUrl !== after.baseUrl) {
    const was = before?.baseUrl === undefined ? "" : `, and was ${before.baseUrl}`;
    changes.push(
      after.baseUrl === undefined
        ? `each connection gives its base URL now${was}`
        : `the base URL is ${after.baseUrl} now${was}`,
    );
  }
  changes.push(...ofEach("placeholder", before?.placeholders ?? {}, after.placeholders ?? {}));
  changes.push(...ofEach("auth method", methodsById(before), methodsById(after)));
  return changes;
}

function methodsById(integration: Integration | undefined): Readonly<Record<string, object>> {
  return Object.fromEntries((integration?.authMethods ?? []).map((method) => [method.id, method]));
}

function ofEach(
  what: string,
  before: Readonly<Record<string, object>>,
  after: Readonly<Record<string, object>>,
): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) => {
    if (!Object.hasOwn(before, name)) return [`the ${what} ${name} is new`];
    if (!Object.hasOwn(after, name)) return [`the ${what} ${name} is gone`];
    return isDeepStrictEqual(before[name], after[name]) ? [] : [`the ${what} ${name} is another now`];
  });
}
