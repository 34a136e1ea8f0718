import type { DescMessage } from "@bufbuild/protobuf";
import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { answersSecret, compressed, compressionFor } from "#src/pipeline/compression.ts";
import { createByteBudget } from "#src/platform/byte-budget.ts";
import { whole } from "#src/platform/bytes.ts";

const { whoAmI, createApiKey } = services.apiKeys.method;
const gzip = compressionFor("gzip");
const never = new AbortController().signal;
const mebibyte = 1024 * 1024;

describe("an answer is compressed", () => {
  const exchange = { method: whoAmI, signal: never, holding: undefined };
  test.each([
    ["gzip", 1023, undefined],
    ["gzip", 1024, "gzip"],
    ["gzip, identity;q=0", 1, "gzip"],
    ["*;q=0", 1024, undefined],
  ])("for a caller that accepts %s, of %i bytes with %s", async (accepted, length, coding) => {
    const plain = Buffer.alloc(length, "a");
    const shown = await compressed([plain], compressionFor(accepted), exchange);
    expect(shown.coding).toBe(coding);
    const body = whole(shown.body);
    expect(coding === undefined ? body : gunzipSync(body)).toEqual(plain);
  });

  test("if it was compressed before, only for a caller that takes it in no other way", async () => {
    const plain = [randomBytes(mebibyte)];
    expect(await compressed(plain, compressionFor("gzip"), exchange)).not.toHaveProperty("coding");
    const shown = await compressed(plain, compressionFor("gzip, identity;q=0"), exchange);
    expect(shown.coding).toBe("gzip");
    expect(gunzipSync(whole(shown.body)).equals(plain[0]!)).toBe(true);
  });

  test("never if it may hold a secret", async () => {
    const plain = Buffer.alloc(4096, "a");
    const accepted = compressionFor("gzip, identity;q=0");
    expect(await compressed([plain], accepted, { ...exchange, method: createApiKey })).toEqual({
      body: [plain],
    });
  });
});

/** The fields of a message and of those in it, by their ways. */
function waysIn(message: DescMessage, way: string, seen: ReadonlySet<DescMessage> = new Set()): string[] {
  if (seen.has(message)) return [];
  return message.fields.flatMap((field) => {
    const here = `${way}.${field.name}`;
    return [here, ...(field.message ? waysIn(field.message, here, new Set([...seen, message])) : [])];
  });
}

test("the methods whose answers hold a secret are known by their contracts, whatever is added", () => {
  const methods = Object.values(services).flatMap((service) => service.methods);
  const looksSecret = /(?:^|[._])(?:secret|password|private_key|credential|api_key|key|token)$/;
  // An answer's `api_key` is the record of a key, and where to go on in a list is no secret.
  const harmless = /\.api_key$|\.next_page_token$|\.key$/;
  for (const { name, output, ...method } of methods) {
    const found = waysIn(output, name).filter((way) => looksSecret.test(way) && !harmless.test(way));
    expect([name, answersSecret({ output, ...method, name } as never)]).toEqual([name, found.length > 0]);
  }
  expect(methods.filter(answersSecret).map(({ name }) => name)).toEqual(["CreateApiKey", "RotateApiKey"]);
});

describe("while an answer is compressed", () => {
  test("the budget counts what it was and what it becomes", async () => {
    const budget = createByteBudget(8 * mebibyte, () => 0);
    const [holding, other] = [budget.open(() => "acme"), budget.open(() => "acme")];
    const plain = randomBytes(mebibyte);
    const compressing = compressed([plain], compressionFor("gzip, identity;q=0"), {
      method: whoAmI,
      signal: never,
      holding,
    });
    other.grow(2 * mebibyte);
    expect(() => other.grow(1)).toThrow("too many bytes");
    await compressing;
  });

  test("and its call ends before its turn came, it is sent as it is, and nothing of it stays behind", async () => {
    const call = new AbortController();
    const long = Buffer.alloc(8 * mebibyte, "a");
    const first = compressed([long], gzip, { method: whoAmI, signal: never, holding: undefined });
    const second = compressed([long], gzip, { method: whoAmI, signal: call.signal, holding: undefined });
    const third = compressed([long], gzip, { method: whoAmI, signal: never, holding: undefined });
    call.abort(new Error("the caller went away"));
    // Not the bytes: to show a difference between millions takes hours.
    expect((await second).coding).toBeUndefined();
    expect((await first).coding).toBe("gzip");
    expect((await third).coding).toBe("gzip");
  });

  test("short ones need not wait for long ones", async () => {
    const exchange = { method: whoAmI, signal: never, holding: undefined };
    const done: string[] = [];
    const note = (name: string) => () => void done.push(name);
    const long = Buffer.alloc(8 * mebibyte, "a");
    await Promise.all([
      compressed([long], gzip, exchange).then(note("long")),
      compressed([long], gzip, exchange).then(note("long")),
      compressed([Buffer.alloc(2048, "a")], gzip, exchange).then(note("short")),
    ]);
    expect(done.at(-1)).toBe("long");
  });
});
