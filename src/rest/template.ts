/** One segment of a path template: a literal, `*` (one segment) or `**` (any number of segments). */
export type Segment = { readonly literal: string } | "*" | "**";

/** The part of a path that is bound to a field: the segments from `from` up to, not including, `to`. */
export interface Variable {
  /** The field's path in proto names, such as `book.name`. */
  readonly field: string;
  readonly from: number;
  readonly to: number;
  /** Bound to more than one segment: `%2F` stays encoded, to tell it from a separator. */
  readonly multi: boolean;
}

/** A path template of `google.api.http`. */
export interface Template {
  readonly text: string;
  readonly segments: readonly Segment[];
  readonly variables: readonly Variable[];
  /** What follows the last colon, as in `/v1/{name}:cancel`. */
  readonly verb: string | undefined;
}

const literal = String.raw`(?:[\w.~-]|%[0-9A-Fa-f]{2})+`;
const whole = new RegExp(String.raw`^((?:/(?:\{[^{}]*\}|\*{1,2}|${literal}))+)(?::(${literal}))?$`);
const segmentOrVariable = new RegExp(String.raw`\{[^{}]*\}|\*{1,2}|${literal}`, "g");
const variable = new RegExp(
  String.raw`^\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:=((?:\*{1,2}|${literal})(?:/(?:\*{1,2}|${literal}))*))?\}$`,
);

/** Parses a path template; throws an error that says what is wrong with it. */
export function parseTemplate(text: string): Template {
  const [, path, verb] = whole.exec(text) ?? [];
  if (path === undefined) {
    throw new Error(
      "is not a path template: between slashes stands one literal, `*`, `**` or `{field}`, not glued to other text, and nothing after the last slash is empty",
    );
  }
  const segments: Segment[] = [];
  const variables: Variable[] = [];
  for (const part of path.match(segmentOrVariable) ?? []) {
    if (!part.startsWith("{")) {
      segments.push(segmentOf(part));
      continue;
    }
    const [, field, inner = "*"] = variable.exec(part) ?? [];
    if (field === undefined) throw new Error(`has a variable outside the grammar: ${part}`);
    if (variables.some((other) => other.field === field)) throw new Error(`binds ${field} twice`);
    const bound = inner.split("/").map(segmentOf);
    const from = segments.length;
    const multi = bound.length > 1 || bound[0] === "**";
    variables.push({ field, from, to: from + bound.length, multi });
    segments.push(...bound);
  }
  const rest = segments.indexOf("**");
  if (rest >= 0 && segments.slice(rest + 1).some((segment) => typeof segment === "string")) {
    throw new Error("has something other than literals after `**`");
  }
  return { text, segments, variables, verb: verb && decodeURIComponent(verb) };
}

function segmentOf(text: string): Segment {
  return text === "*" || text === "**" ? text : { literal: decodeURIComponent(text) };
}

/** The values of the template's variables in a path, given as its raw segments; undefined if it does not match. */
export function match(template: Template, path: readonly string[]): string[] | undefined {
  const { segments } = template;
  const rest = segments.indexOf("**");
  const surplus = path.length - segments.length;
  if (rest < 0 ? surplus !== 0 : surplus < -1) return undefined;
  // Where a boundary between segments lies in the path: those after `**` are counted from its end.
  const at = (index: number) => (rest < 0 || index <= rest ? index : index + surplus);
  for (const [index, segment] of segments.entries()) {
    if (typeof segment !== "string" && decode(path[at(index + 1) - 1]!) !== segment.literal) return undefined;
  }
  return template.variables.map(({ from, to, multi }) =>
    path
      .slice(at(from), at(to))
      .map(multi ? decodeButSlash : decode)
      .join("/"),
  );
}

function decode(text: string): string {
  return text.includes("%") ? decodeURIComponent(text) : text;
}

function decodeButSlash(text: string): string {
  return text
    .split(/(%2f)/i)
    .map((piece, index) => (index % 2 === 1 ? piece : decode(piece)))
    .join("");
}

/** Orders templates by precedence: verbs first, then from left to right literal before `*` before `**`. */
export function byPrecedence(a: Template, b: Template): number {
  if ((a.verb === undefined) !== (b.verb === undefined)) return a.verb === undefined ? 1 : -1;
  for (let index = 0; index < Math.max(a.segments.length, b.segments.length); index++) {
    const difference = rank(a.segments[index]) - rank(b.segments[index]);
    if (difference !== 0) return difference;
  }
  return 0;
}

// A template that ends here stands before one that goes on with `**`, which may match nothing.
function rank(segment: Segment | undefined): number {
  if (segment === undefined) return 2;
  return segment === "**" ? 3 : segment === "*" ? 1 : 0;
}

/** Templates of equal shape match the same paths. */
export function shapeOf({ segments, verb }: Template): string {
  const path = segments.map((segment) =>
    typeof segment === "string" ? segment : encodeURIComponent(segment.literal),
  );
  return `/${path.join("/")}${verb === undefined ? "" : `:${verb}`}`;
}
