/**
 * What stands at a JSON Pointer (RFC 6901) whose `*` stands for each item of a list: one value for each item, undefined
 * for an item that has nothing there.
 */
export function valuesAt(json: unknown, pointer: string): unknown[] {
  return partsOf(pointer).reduce<unknown[]>(
    (found, part) => found.flatMap((value) => membersAt(value, part)),
    [json],
  );
}

function partsOf(pointer: string): string[] {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function membersAt(value: unknown, part: string): unknown[] {
  if (Array.isArray(value))
    return part === "*" ? value : [/^(?:0|[1-9]\d*)$/.test(part) ? value[Number(part)] : undefined];
  const members = Object(value) === value ? Object.entries(value as object) : [];
  return [members.find(([name]) => name === part)?.[1]];
}
