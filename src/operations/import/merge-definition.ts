import { isDeepStrictEqual } from "node:util";
import { requireSound } from "#src/integrations/definition.ts";
import type { CheckUrl } from "#src/integrations/definition-urls.ts";
import type { AuthMethod, Integration, Placeholder } from "#src/integrations/integration.ts";
import { standardMethods } from "#src/integrations/standard.ts";
import { namesIn } from "#src/integrations/templates.ts";
import { ServiceError } from "#src/platform/errors.ts";
import type { LongWork } from "#src/platform/in-turns.ts";
import { present } from "#src/platform/present.ts";
import { changesBetween } from "./definition-changes.ts";
import type { DerivedDefinition } from "./imported.ts";

/** What is known of an integration before an import. */
export interface BeforeImport {
  /** As the organisation has it; undefined if it has not defined it. */
  readonly own: Integration | undefined;
  /** `given` of the previous import; undefined if there was none. */
  readonly previous: DerivedDefinition | undefined;
}

/** What becomes of the integration. */
export interface MergedDefinition {
  /** Undefined if it stays as it is. */
  readonly next: Integration | undefined;
  /** What changes, what a person's change keeps as it is, and what cannot be taken, for people. */
  readonly changes: readonly string[];
  /** What it has from documents, as far as no person changed it: of a part that is refused, what an earlier one gave. */
  readonly given: DerivedDefinition;
}

/**
 * What a document makes of an integration of the organisation's own. What is absent there, or still as the previous
 * import left it, becomes what the document says; what a person changed stays. Each part is judged as if it were
 * written by hand, and what is refused is left out: one odd part must not keep the operations from being imported.
 */
export function* mergeDefinition(
  slug: string,
  { own, previous }: BeforeImport,
  derived: DerivedDefinition,
  checkUrl: CheckUrl,
): LongWork<MergedDefinition> {
  const nothing = { slug, name: derived.name, authMethods: [], version: 0 };
  const merge = new Merge(own ?? nothing, derived, checkUrl);
  if (own !== undefined) merge.name(own, previous, derived);
  yield* merge.place(previous, derived);
  const before = own !== undefined && previous === undefined ? [] : methodsOf(previous);
  for (const method of derived.authMethods) yield* merge.method(method, before);
  for (const method of before) yield* merge.removal(method, derived.authMethods);
  const merged = merge.finish(previous);
  const changes = [...changesBetween(own, merged), ...merge.said];
  const { given } = merge;
  if (own !== undefined && isDeepStrictEqual(merged, own)) return { next: undefined, changes, given };
  return { next: { ...merged, version: merged.version + 1 }, changes, given };
}

/** An import that names no way to sign in gives those of a service of which nothing is known. */
function methodsOf(derived: DerivedDefinition | undefined): readonly AuthMethod[] {
  const methods = derived?.authMethods ?? [];
  return methods.length > 0 ? methods : standardMethods;
}

const mostMethods = 10;
const mostPlaceholders = 10;

/** The integration on its way from what it was to what it will be; sound at each step. */
class Merge {
  readonly said: string[] = [];
  given: DerivedDefinition;
  #integration: Integration;
  readonly #own: Integration;
  readonly #checkUrl: CheckUrl;

  constructor(own: Integration, derived: DerivedDefinition, checkUrl: CheckUrl) {
    this.given = derived;
    this.#own = own;
    this.#integration = own;
    this.#checkUrl = checkUrl;
  }

  name(own: Integration, previous: DerivedDefinition | undefined, { name }: DerivedDefinition): void {
    if (own.name === name) return;
    if (own.name === previous?.name) this.#integration = { ...this.#integration, name };
    else this.said.push(`the name stays ${quoted(own.name)}; the document says ${quoted(name)}`);
  }

  /** The base URL and what stands for parts of it belong together. */
  *place(previous: DerivedDefinition | undefined, derived: DerivedDefinition): LongWork<void> {
    const { baseUrl, placeholders = {} } = this.#own;
    const merged: Record<string, Placeholder> = { ...placeholders };
    const kept: string[] = [];
    for (const [name, placeholder] of Object.entries(derived.placeholders ?? {})) {
      if (isOurs(merged[name], previous?.placeholders?.[name])) merged[name] = placeholder;
      else if (!isDeepStrictEqual(merged[name], placeholder)) {
        kept.push(`the placeholder ${name} stays as it was changed; the document says otherwise`);
      }
    }
    const isUrlOurs = isOurs(baseUrl, previous?.baseUrl);
    if (!isUrlOurs && derived.baseUrl !== undefined && derived.baseUrl !== baseUrl) {
      kept.push(`the base URL stays ${baseUrl}; the document says ${derived.baseUrl}`);
    }
    const next = withPlace(this.#integration, isUrlOurs ? derived.baseUrl : baseUrl, merged);
    const what = `the base URL ${derived.baseUrl ?? ""}`.trimEnd();
    if (yield* this.#take(next, `${what} is not taken from the document`)) this.said.push(...kept);
    else this.given = present({ ...this.given, baseUrl: previous?.baseUrl, placeholders: previous?.placeholders }); // prettier-ignore
  }

  *method(method: AuthMethod, before: readonly AuthMethod[]): LongWork<void> {
    const { authMethods } = this.#integration;
    const known = authMethods.find(({ id }) => id === method.id);
    if (isDeepStrictEqual(known, method)) return;
    const previous = before.find(({ id }) => id === method.id);
    if (!isOurs(known, previous)) {
      this.said.push(`the auth method ${method.id} stays as it was changed; the document says otherwise`);
      return;
    }
    const next =
      known === undefined
        ? [...authMethods, method]
        : authMethods.map((one) => (one === known ? method : one));
    const refusal = `the auth method ${method.id} is not taken from the document`;
    if (!(yield* this.#take({ ...this.#integration, authMethods: next }, refusal))) {
      this.#gave(method.id, previous);
    }
  }

  /** Of what the previous import gave and the document no longer has. */
  *removal(method: AuthMethod, derived: readonly AuthMethod[]): LongWork<void> {
    const { authMethods } = this.#integration;
    const known = authMethods.find(({ id }) => id === method.id);
    if (known === undefined || derived.some(({ id }) => id === method.id)) return;
    if (!isDeepStrictEqual(known, method)) {
      this.said.push(`the auth method ${method.id} stays as it was changed; the document no longer has it`);
      return;
    }
    const next = authMethods.filter((one) => one !== known);
    const refusal = `the auth method ${method.id} stays`;
    if (!(yield* this.#take({ ...this.#integration, authMethods: next }, refusal))) {
      this.#gave(method.id, method);
    }
  }

  #gave(id: string, method: AuthMethod | undefined): void {
    const others = this.given.authMethods.filter((one) => one.id !== id);
    this.given = { ...this.given, authMethods: method === undefined ? others : [...others, method] };
  }

  /** Without placeholders that nothing names any more, and never without a way to sign in. */
  finish(previous: DerivedDefinition | undefined): Integration {
    const { placeholders = {}, ...rest } = this.#integration;
    const authMethods = rest.authMethods.length > 0 ? rest.authMethods : standardMethods;
    const named = new Set(namesIn(JSON.stringify(rest)));
    const own = this.#own.placeholders ?? {};
    const kept = Object.entries(placeholders).filter(
      ([name]) => named.has(name) || !isOurs(own[name], previous?.placeholders?.[name]),
    );
    return withPlace({ ...rest, authMethods }, rest.baseUrl, Object.fromEntries(kept));
  }

  *#take(next: Integration, refusal: string): LongWork<boolean> {
    const reason = yield* this.#problemOf(next);
    if (reason === undefined) this.#integration = next;
    else this.said.push(`${refusal}: ${reason}`);
    return reason === undefined;
  }

  *#problemOf(next: Integration): LongWork<string | undefined> {
    if (next.authMethods.length > mostMethods) return `an integration has at most ${mostMethods}`;
    if (Object.keys(next.placeholders ?? {}).length > mostPlaceholders) {
      return `an integration has at most ${mostPlaceholders} placeholders`;
    }
    try {
      yield* requireSound(next, this.#checkUrl);
      return undefined;
    } catch (error) {
      if (error instanceof ServiceError && error.kind === "invalid_argument") return error.message;
      throw error;
    }
  }
}

/** Whether an import may replace it: it is absent, or is what the previous import gave. */
function isOurs(own: unknown, previous: unknown): boolean {
  return own === undefined || isDeepStrictEqual(own, previous);
}

function withPlace(
  integration: Integration,
  baseUrl: string | undefined,
  placeholders: Readonly<Record<string, Placeholder>>,
): Integration {
  const isNone = Object.keys(placeholders).length === 0;
  return present({ ...integration, baseUrl, placeholders: isNone ? undefined : placeholders });
}

function quoted(name: string): string {
  return JSON.stringify(name);
}
