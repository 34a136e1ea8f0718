import { isUtf8 } from "node:buffer";
import { walkJson, type JsonVisitor } from "#src/json/walk.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";
import { InvalidOutboundRequest } from "./errors.ts";
import type { Fields } from "./headers.ts";
import { sameParameter } from "./parameters.ts";

/** Larger bodies are not taken apart to put a credential in. */
const maxBytes = 1024 * 1024;

/**
 * The body with the credential's members or parameters, in place of those of the same name. What else is in it stays as
 * it is spelled. A body that a service could read in another way is refused: what is put in must end up where it was
 * meant to, and not within a text that the service keeps and shows.
 */
export async function injectedBody(
  body: Buffer | null,
  headers: Fields,
  injected: Readonly<Record<string, string>>,
): Promise<Buffer | null> {
  const entries = Object.entries(injected);
  if (entries.length === 0) return body;
  const kind = kindOf(headers);
  if (kind === undefined || body === null || body.length > maxBytes || !isUtf8(body)) {
    throw new InvalidOutboundRequest(
      "body: the credential of this connection goes into the body, so send a JSON object or a form, in UTF-8, not " +
        "compressed, of at most 1 MiB",
    );
  }
  return Buffer.from(await inTurns(kind(body.toString(), entries)));
}

type Entries = readonly [string, string][];

/** How the body is written that these headers describe; undefined for none that a credential can be put into. */
function kindOf(headers: Fields): ((text: string, injected: Entries) => LongWork<string>) | undefined {
  const [, essence = ""] =
    /^\s*([^\s;,]+)\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i.exec(headers.get("content-type") ?? "") ?? [];
  if (headers.has("content-encoding")) return undefined;
  if (/^application\/(?:[\w.!#$&^+-]+\+)?json$/i.test(essence)) return withMembers;
  return essence.toLowerCase() === "application/x-www-form-urlencoded" ? withParameters : undefined;
}

function* withMembers(text: string, injected: Entries): LongWork<string> {
  const members = new OuterMembers(text, sameParameter(injected.map(([name]) => name)));
  try {
    yield* walkJson(text, { maxDepth: Infinity, allowsNul: true, anyNumber: true }, members);
  } catch (error) {
    if (error instanceof InvalidRequest) throw new InvalidOutboundRequest(`body: ${error.message}`);
    throw error;
  }
  if (!members.areOfObject) {
    throw new InvalidOutboundRequest(
      "body: the credential of this connection becomes a member of it, so send a JSON object",
    );
  }
  const added = injected.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  return `{${[...members.kept, ...added].join(",")}}`;
}

/** The members of the outermost object, as they are written there, without those that are replaced. */
class OuterMembers implements JsonVisitor {
  readonly kept: string[] = [];
  areOfObject = false;
  readonly #text: string;
  readonly #isReplaced: (name: string) => boolean;
  #depth = 0;
  #name = "";
  #start = 0;

  constructor(text: string, isReplaced: (name: string) => boolean) {
    this.#text = text;
    this.#isReplaced = isReplaced;
  }

  open(start: number): void {
    if (this.#depth === 0) this.areOfObject = this.#text[start] === "{";
    if (this.#depth === 1) this.#start = start;
    this.#depth++;
  }

  name(name: string): void {
    if (this.#depth === 1) this.#name = name;
  }

  scalar(start: number, end: number): void {
    if (this.#depth === 1) this.#keep(start, end);
  }

  close(end: number): void {
    this.#depth--;
    if (this.#depth === 1) this.#keep(this.#start, end);
  }

  #keep(start: number, end: number): void {
    if (this.#isReplaced(this.#name)) return;
    this.kept.push(`${JSON.stringify(this.#name)}:${this.#text.slice(start, end)}`);
  }
}

/** Yields after this many parameters. */
const parametersPerTurn = 2_000;

function* withParameters(text: string, injected: Entries): LongWork<string> {
  if (!/^[!-~]*$/.test(text)) {
    throw new InvalidOutboundRequest("body: percent-encode what is in the form; it has visible ASCII only");
  }
  const isReplaced = sameParameter(injected.map(([name]) => name));
  const kept: string[] = [];
  let turn = 0;
  for (let at = 0; at < text.length;) {
    if (++turn % parametersPerTurn === 0) yield;
    const found = text.indexOf("&", at);
    const end = found === -1 ? text.length : found;
    const parameter = text.slice(at, end);
    if (parameter !== "" && !isReplaced(nameIn(parameter))) kept.push(parameter);
    at = end + 1;
  }
  return [...kept, ...injected.map((pair) => pair.map(encodeURIComponent).join("="))].join("&");
}

function nameIn(parameter: string): string {
  const name = (/^[^=]*/.exec(parameter)?.[0] ?? "").replaceAll("+", " ");
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
