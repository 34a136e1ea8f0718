/**
 * Makes schemas that refer to the definitions stand by themselves: each has behind it, as `$defs`, those that it leads
 * to and no others. Nothing is parsed. Made once for many schemas, it looks into each definition once.
 */
export function selfContained(definitions: ReadonlyMap<string, string>): (schema: string) => string {
  const referredBy = new Map<string, readonly string[]>();

  function namesIn(name: string): readonly string[] {
    const names = referredBy.get(name) ?? referencesIn(definitions.get(name) ?? "");
    referredBy.set(name, names);
    return names;
  }

  return (schema) => {
    const needed = new Set(referencesIn(schema));
    // A set that grows goes on with what was added.
    for (const name of needed) for (const further of namesIn(name)) needed.add(further);
    const members = [...needed].sort().flatMap((name) => {
      const text = definitions.get(name);
      return text === undefined ? [] : [`${JSON.stringify(name)}:${text}`];
    });
    if (members.length === 0) return schema;
    const rest = schema.slice(0, schema.lastIndexOf("}"));
    return `${rest}${rest.trimEnd().endsWith("{") ? "" : ","}"$defs":{${members.join()}}}`;
  };
}

/** In JSON, no quote inside a text stands without a backslash, so nothing that only quotes a reference looks like one. */
const reference = /"\$ref"\s*:\s*"#\/\$defs\/((?:[^"\\/]|\\[^/])+)/g;

/** The names of the definitions that the JSON of a schema refers to, or to a part of. */
function referencesIn(schema: string): string[] {
  const names = new Set<string>();
  for (const [, written = ""] of schema.matchAll(reference)) {
    const name = written.includes("\\") ? (JSON.parse(`"${written}"`) as string) : written;
    names.add(decoded(name));
  }
  return [...names];
}

/** A name as it is, of one that stands in the fragment of a URL, as a part of a JSON pointer. */
function decoded(name: string): string {
  const pointer = name.replaceAll("~1", "/").replaceAll("~0", "~");
  if (!pointer.includes("%")) return pointer;
  try {
    return decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return pointer;
  }
}
