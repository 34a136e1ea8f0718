import { create, toJson, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";

/** Prints the message as it is over REST, where a field without a value of its own is there as well. */
export function printJson<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): void {
  const json = toJson(schema, create(schema, message), { alwaysEmitImplicit: true });
  process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
}

/** A foreign text, without what a terminal or the order of a line would obey. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, " ");
}

/** How many there are of something. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
