import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { Placeholder } from "#src/integrations/integration.ts";
import { placeholderValue } from "#src/integrations/values.ts";
import { membersOf } from "#src/json/object.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { present } from "#src/platform/present.ts";
import { lineOf, takeName, textOf, textsIn } from "./text.ts";

const longestValue = 128;
const mostNames = 8;
/** As many as a placeholder's list has. */
export const mostValues = 50;

/** The variables of a server's URL, and the placeholders that they become. */
export class Variables {
  readonly placeholders: Record<string, Placeholder> = {};
  readonly names = new Map<string, string>();
  readonly #variables: JsonObject;
  readonly #report: (variable: string, reason: string) => void;
  readonly #taken = new Set(["accessToken"]);

  constructor(variables: JsonObject, report: (variable: string, reason: string) => void) {
    this.#variables = variables;
    this.#report = report;
  }

  /** The text with names of templates in place of the document's variables. */
  replaceIn(text: string, place: "host" | "path"): string {
    return text.replace(/\{([^{}]*)\}/g, (_, raw: string) => {
      const known = this.names.get(raw);
      if (known !== undefined) return `{${known}}`;
      const placeholder = this.#placeholderOf(raw, place);
      if (placeholder === undefined) return this.fixedIn(`{${raw}}`);
      const name = takeName(raw, this.#taken);
      this.names.set(raw, name);
      this.placeholders[name] = placeholder;
      return `{${name}}`;
    });
  }

  /** The text with the variables' default values: what differs there cannot differ between connections. */
  fixedIn(text: string): string {
    return text.replace(/\{([^{}]*)\}/g, (whole, raw: string) => {
      const usual = textOf(this.#variable(raw)["default"]);
      if (usual === undefined) return whole;
      this.#report(
        raw,
        `does not differ between connections; it is ${JSON.stringify(usual.slice(0, longestValue))}`,
      );
      return usual;
    });
  }

  /** Of several, the one that encrypts. */
  schemeOf(text: string): string {
    const [, raw] = /^\{([^{}]*)\}$/.exec(text) ?? [];
    if (raw === undefined) return text.toLowerCase();
    const { enum: list, default: usual } = this.#variable(raw);
    return textsIn(list).includes("https") ? "https" : (textOf(usual) ?? "https");
  }

  #placeholderOf(raw: string, place: "host" | "path"): Placeholder | undefined {
    if (this.names.size >= mostNames) return undefined;
    const { enum: list, default: usual, description } = this.#variable(raw);
    const fits = (value: JsonValue | undefined) => typeof value === "string" && isFit(place, value);
    const values = textsIn(list).filter(fits).slice(0, mostValues);
    const note = lineOf(description, 500);
    const first = fits(usual) ? textOf(usual) : undefined;
    if (values.length > 0) {
      const chosen = first !== undefined && values.includes(first) ? first : undefined;
      const example = chosen ?? values[0] ?? "";
      return { in: place, enum: [...new Set(values)], ...present({ default: chosen, note }), example };
    }
    if (usual !== undefined && first === undefined) return undefined;
    const pattern =
      place === "path" ? "^[A-Za-z0-9._~-]+$" : first?.includes(".") ? "^[A-Za-z0-9.-]+$" : "^[A-Za-z0-9-]+$";
    // A tenant that nobody named must not be whoever has the document's example for a name.
    const chosen = place === "path" ? first : undefined;
    return { in: place, pattern, ...present({ default: chosen, note }), example: first ?? "example" };
  }

  #variable(raw: string): JsonObject {
    const variable = Object.hasOwn(this.#variables, raw) ? this.#variables[raw] : undefined;
    return membersOf(variable);
  }
}

/** Whether the text can be a placeholder's value there. */
export function isFit(place: "host" | "path", value: string): boolean {
  try {
    return (
      value.length <= longestValue &&
      placeholderValue("value", { in: place, enum: [value], example: value }, value) !== ""
    );
  } catch (error) {
    if (error instanceof InvalidRequest) return false;
    throw error;
  }
}
