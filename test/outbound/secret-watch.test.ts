import fc from "fast-check";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { needlesOf } from "#src/outbound/reflection.ts";
import { InflatedWatch, outermostCoding, SecretWatch } from "#src/outbound/secret-watch.ts";

const secret = "sk-Test_0123456789+abcdefghijklmnop";
const needles = needlesOf([secret])!;

const forms: Record<string, string> = {
  "as it is": secret,
  "in base64": Buffer.from(`:${secret}`).toString("base64"),
  "in URL-safe base64": Buffer.from(`ab${secret}`).toString("base64url"),
  "in hexadecimal": Buffer.from(secret).toString("hex"),
  "in UTF-16": Buffer.from(secret, "utf16le").toString("latin1"),
  "percent-encoded": secret.replace(/./g, (c) => `%${c.charCodeAt(0).toString(16)}`),
  "in JSON escapes": secret.replace(/./g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
};

/** The text in pieces of these lengths, again and again. */
function* pieces(text: Buffer, lengths: readonly number[]): Generator<Buffer> {
  for (let at = 0, turn = 0; at < text.length; turn++) {
    const length = lengths[turn % lengths.length]!;
    yield text.subarray(at, at + length);
    at += length;
  }
}

const lengths = fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1, maxLength: 8 });
// Nothing of it is in a form of the secret.
const around = fc.string({ unit: fc.constantFrom(" ", "\n", "{", "}", "!", "%", "\\"), maxLength: 3_000 });

test.each(Object.entries(forms))("a secret %s is found wherever pieces end", (_, form) => {
  fc.assert(
    fc.property(around, around, lengths, (before, after, cuts) => {
      const text = Buffer.from(`${before} ${form} ${after}`, "latin1");
      const watch = new SecretWatch(needles);
      return [...pieces(text, cuts)].some((piece) => watch.finds(piece));
    }),
  );
});

test("a text without the secret passes, however it is cut", () => {
  fc.assert(
    fc.property(around, lengths, (text, cuts) => {
      const watch = new SecretWatch(needles);
      const almost = Buffer.from(`${text}${secret.slice(0, -1)}${text}${secret.slice(1)}`, "latin1");
      return ![...pieces(almost, cuts)].some((piece) => watch.finds(piece));
    }),
  );
});

test("the beginning of a secret at the end of a piece is known as such, from eight characters on", () => {
  const watch = new SecretWatch(needles);
  for (let length = 1; length < secret.length; length++) {
    const fresh = new SecretWatch(needles);
    expect(fresh.finds(Buffer.from(`some text: ${secret.slice(0, length)}`))).toBe(false);
    expect(fresh.unfinished()).toBe(length < 8 ? 0 : length);
  }
  expect(watch.finds(Buffer.from(`${secret.slice(0, 20)} and on`))).toBe(false);
  expect(watch.unfinished()).toBe(0);
});

const codings: [string, (text: Buffer) => Buffer][] = [
  ["gzip", gzipSync],
  ["x-gzip", gzipSync],
  ["deflate", deflateSync],
  ["deflate", deflateRawSync],
  ["br", brotliCompressSync],
];

describe.each(codings)("in %s", (coding, compress) => {
  test("a secret is found wherever pieces end", async () => {
    await fc.assert(
      fc.asyncProperty(around, lengths, async (text, cuts) => {
        using watch = new InflatedWatch(coding, needles);
        const seen: string[] = [];
        for (const piece of pieces(compress(Buffer.from(`${text} ${secret} ${text}`)), cuts)) {
          seen.push(await watch.look(piece));
        }
        return seen.at(-1) === "found";
      }),
      { numRuns: 20 },
    );
  });

  test("a body that inflates to hundreds of times its length is not read on", async () => {
    using watch = new InflatedWatch(coding, needles);
    const bomb = compress(Buffer.alloc(32 * 1024 * 1024));
    const seen: string[] = [];
    for (const piece of pieces(bomb, [8 * 1024])) seen.push(await watch.look(piece));
    expect(seen.at(-1)).toBe("bomb");
  });

  test("bytes that are damaged, or go on behind the end, pass", async () => {
    using watch = new InflatedWatch(coding, needles);
    const text = compress(Buffer.from("a text of some length, and not a short one"));
    const damaged = [text.subarray(0, 12), Buffer.from("damage!".repeat(9)), text];
    for (const piece of damaged) expect(await watch.look(piece)).toBe("clear");
  });
});

test.each([
  ["", undefined],
  ["identity", undefined],
  ["zstd", undefined],
  ["GZIP", "gzip"],
  ["gzip, br", "br"],
])("of the codings '%s', %s is looked into", (codingsInOrder, outermost) => {
  expect(outermostCoding(codingsInOrder)).toBe(outermost);
});
