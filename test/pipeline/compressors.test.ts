import { randomBytes } from "node:crypto";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { compressors } from "#src/pipeline/compressors.ts";

const undone: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  gzip: gunzipSync,
  br: brotliDecompressSync,
};
const text = Buffer.from("a text that is much like itself. ".repeat(10_000));
const image = randomBytes(1024 * 1024);

describe.each(compressors)("in $name", ({ name, compress }) => {
  test.each([
    ["a text", text],
    ["an image", image],
    ["a text that begins like an image", Buffer.concat([image.subarray(0, 10_000), text])],
    ["nothing", Buffer.alloc(0)],
  ])("%s is what it was when it is inflated", async (_, bytes) => {
    expect(undone[name]!(await compress(bytes)).equals(bytes)).toBe(true);
  });

  test("a text becomes much shorter, also if it begins with an image, and an image hardly longer", async () => {
    expect((await compress(text)).length).toBeLessThan(text.length / 20);
    const mixed = Buffer.concat([image.subarray(0, 10_000), text]);
    expect((await compress(mixed)).length).toBeLessThan(10_000 + text.length / 10);
    expect((await compress(image)).length).toBeLessThan(image.length * 1.001);
  });
});

test("what is compressed already is only framed by gzip, and what looks alike and is not is compressed", async () => {
  const [gzip] = compressors;
  // With how much effort it was compressed (RFC 1952, 2.3.1): 4 is the least.
  const effortFor = async (bytes: Buffer) => (await gzip!.compress(bytes))[8];
  expect(await effortFor(image)).toBe(4);
  expect(await effortFor(Buffer.from(image.toString("base64")))).toBe(0);
});
