import { ScalarType, type DescMessage } from "@bufbuild/protobuf";
import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { answersSecret, compressed, compressionFor, type Compression } from "#src/pipeline/compression.ts";
import { createByteBudget } from "#src/platform/byte-budget.ts";
import { whole } from "#src/platform/bytes.ts";
import { WaitedTooLong, type Waiting } from "#src/platform/turns.ts";

const { whoAmI, createApiKey } = services.apiKeys.method;
const gzip = compressionFor("gzip");
/** For a caller that takes no answer as it is. */
const needed = compressionFor("gzip, identity;q=0");
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

/** The fields of a message and of those in it, by their ways; not what is only true or false. */
function waysIn(message: DescMessage, way: string, seen: ReadonlySet<DescMessage> = new Set()): string[] {
  if (seen.has(message)) return [];
  return message.fields.flatMap((field) => {
    if (field.scalar === ScalarType.BOOL) return [];
    const here = `${way}.${field.name}`;
    return [here, ...(field.message ? waysIn(field.message, here, new Set([...seen, message])) : [])];
  });
}

test("the methods whose answers hold a secret are known by their contracts, whatever is added", () => {
  const methods = Object.values(services).flatMap((service) => service.methods);
  const looksSecret = /(?:^|[._])(?:secret|password|private_key|credential|api_key|key|token)$/;
  // An answer's `api_key` is the record of a key, where to go on in a list is no secret, and what an integration
  // injects is a template. A public key is for everybody. The token of a delivery is good only beside a key that may consume.
  const harmless =
    /\.api_key$|\.next_page_token$|\.(?:public_)?key$|\.inject\.\w+\.\w+$|\.deliveries\.token$/;
  for (const { name, output, ...method } of methods) {
    const found = waysIn(output, name).filter((way) => looksSecret.test(way) && !harmless.test(way));
    if (found.length > 0)
      expect([name, answersSecret({ output, ...method, name } as never)]).toEqual([name, true]);
  }
  const known = methods.filter(answersSecret).map(({ name }) => name);
  // The URL of an authorization is good for whoever opens it.
  expect(known.toSorted()).toEqual([
    ...["CreateApiKey", "CreateChannel", "CreateWebhookEndpoint", "RotateApiKey"],
    ...["RotateChannelSecret", "RotateWebhookSecret", "StartAuthorization"],
  ]);
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
    const first = compressed([long], needed, { method: whoAmI, signal: never, holding: undefined });
    const second = compressed([long], gzip, { method: whoAmI, signal: call.signal, holding: undefined });
    const third = compressed([long], needed, { method: whoAmI, signal: never, holding: undefined });
    call.abort(new Error("the caller went away"));
    // Not the bytes: to show a difference between millions takes hours.
    expect((await second).coding).toBeUndefined();
    expect((await first).coding).toBe("gzip");
    expect((await third).coding).toBe("gzip");
  });

  test.each([2048, mebibyte])("one of %i bytes need not wait for long ones", async (length) => {
    const exchange = { method: whoAmI, signal: never, holding: undefined };
    const done: string[] = [];
    const note = (name: string) => () => void done.push(name);
    const long = Buffer.alloc(16 * mebibyte, "a");
    await Promise.all([
      ...Array.from({ length: 4 }, () => compressed([long], needed, exchange).then(note("long"))),
      compressed([Buffer.alloc(length, "a")], needed, exchange).then(note("short")),
    ]);
    expect(done.indexOf("short")).toBeLessThan(2);
  });

  describe("and there is something that keeps it from that", () => {
    const plain = [Buffer.alloc(4096, "a")];
    const failing = (thrown: Error, fromBytes: number) => ({
      name: "gzip" as const,
      fromBytes,
      compress: async () => {
        throw thrown;
      },
    });

    test("which is that others take long, it is sent as it is", async () => {
      const exchange = { method: whoAmI, signal: never, holding: undefined };
      expect(await compressed(plain, failing(new WaitedTooLong(), 1024), exchange)).toEqual({ body: plain });
    });

    test("which is a fault, that is not hidden", async () => {
      const exchange = { method: whoAmI, signal: never, holding: undefined };
      const fault = new Error("out of memory");
      await expect(compressed(plain, failing(fault, 1024), exchange)).rejects.toBe(fault);
      const ended = { ...exchange, signal: AbortSignal.abort() };
      expect(await compressed(plain, failing(fault, 1024), ended)).toEqual({ body: plain });
    });

    test.each([
      ["gzip", true],
      ["gzip, identity;q=0", false],
    ])("a caller that accepts %s is patient for a moment only: %s", async (accepted, isShort) => {
      const waits: (Waiting | undefined)[] = [];
      const gzip = compressionFor(accepted)!;
      const noting: Compression = {
        ...gzip,
        compress(bytes, wait) {
          waits.push(wait);
          return gzip.compress(bytes, wait);
        },
      };
      await compressed(plain, noting, { method: whoAmI, signal: never, holding: undefined });
      expect(waits).toEqual([{ signal: never, ...(isShort && { patienceMs: 100 }) }]);
    });
  });
});
