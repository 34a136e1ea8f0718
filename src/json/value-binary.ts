import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { LongWork } from "#src/platform/in-turns.ts";
import { entryValueTag, firstTag, valueTags as tags } from "./value-tags.ts";
import { scalarAt, walkJson, type JsonVisitor } from "./walk.ts";

/** The `google.protobuf.Value` that the JSON is, in binary, as protobuf-es would write it. */
export function* valueBinary(text: string): LongWork<Uint8Array> {
  const writer = new ValueWriter(text);
  yield* walkJson(text, { maxDepth: Infinity, allowsNul: true }, writer);
  return writer.finish();
}

/** The field of type `google.protobuf.Struct` that the JSON object is, behind the field's tag. Numbers are rounded. */
export function* structFieldBinary(text: string): LongWork<Uint8Array> {
  const writer = new ValueWriter(text);
  yield* walkJson(text, { maxDepth: Infinity, allowsNul: true, anyNumber: true }, writer);
  // The value of an object is a field with its Struct.
  return writer.finish().subarray(1);
}

class ValueWriter implements JsonVisitor {
  readonly #text: string;
  readonly #writer = new BinaryWriter();
  /** What lies around the present place. */
  readonly #around: ("object" | "list")[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  finish(): Uint8Array {
    return this.#writer.finish();
  }

  open(start: number): void {
    this.#beginValue();
    const isObject = this.#text[start] === "{";
    this.#writer.uint32(isObject ? tags.struct : tags.list).fork();
    this.#around.push(isObject ? "object" : "list");
  }

  name(name: string): void {
    this.#writer.uint32(firstTag).fork().uint32(firstTag).string(name);
  }

  scalar(start: number, end: number): void {
    this.#beginValue();
    const value = scalarAt(this.#text, start, end);
    if (typeof value === "string") this.#writer.uint32(tags.string).string(value);
    else if (typeof value === "number") this.#writer.uint32(tags.number).double(value);
    else if (typeof value === "boolean") this.#writer.uint32(tags.bool).bool(value);
    else this.#writer.uint32(tags.null).int32(0);
    this.#endValue();
  }

  close(): void {
    this.#writer.join();
    this.#around.pop();
    this.#endValue();
  }

  #beginValue(): void {
    const around = this.#around.at(-1);
    if (around !== undefined) this.#writer.uint32(around === "list" ? firstTag : entryValueTag).fork();
  }

  #endValue(): void {
    const around = this.#around.at(-1);
    if (around !== undefined) this.#writer.join();
    if (around === "object") this.#writer.join();
  }
}
