import { brotliCompressSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { createByteBudget, type Holding } from "#src/platform/byte-budget.ts";
import { compressingFor, compressions } from "#src/rpc/compression.ts";
import { decompress } from "#src/rpc/decompress.ts";

const mebibyte = 1024 * 1024;
const most = 32 * mebibyte;
const plain = Buffer.alloc(most, "a");
const bomb = gzipSync(plain);

const codings = [
  ["gzip", gzipSync],
  ["br", brotliCompressSync],
] as const;

describe.each(codings)("a message in %s", (coding, compress) => {
  const call = { holding: undefined };

  test.each([0, 1, 64 * 1024, 64 * 1024 + 1, 3 * mebibyte])("of %i bytes is what it was", async (length) => {
    const bytes = plain.subarray(0, length);
    expect((await decompress(coding, compress(bytes), most, call)).equals(bytes)).toBe(true);
    expect((await decompress(coding, compress(bytes), Math.max(1, length), call)).length).toBe(length);
  });

  test.each([1000, 64 * 1024, 3 * mebibyte])(
    "that may have %i bytes is refused with one more",
    async (limit) => {
      const refused = decompress(coding, compress(plain.subarray(0, limit + 1)), limit, call);
      await expect(refused).rejects.toMatchObject({ reason: "MESSAGE_TOO_LARGE" });
    },
  );
});

/** Counts what is taken, and does something with the first of it. */
function counting(atFirst: () => void) {
  let taken = 0;
  const holding: Holding = {
    grow(bytes) {
      if (taken === 0) atFirst();
      taken += bytes;
    },
    become: () => undefined,
    waitForReader: () => undefined,
    release: () => undefined,
  };
  return { holding, taken: () => taken };
}

describe("what comes out of a message", () => {
  test("is counted on the way, and is no more than there is room for", async () => {
    const holding = createByteBudget(16 * mebibyte, () => 0).open(() => "acme");
    await expect(decompress("gzip", bomb, most, { holding })).rejects.toThrow("too many bytes");
    const { signal } = new AbortController();
    const overConnect = compressingFor({ gone: signal, over: signal, holding }, () =>
      compressions[0]!.decompress(bomb, most),
    );
    await expect(overConnect).rejects.toThrow("too many bytes");
  });

  test("comes no further once its call has ended, and others get their turn", async () => {
    const gone = new Error("the caller went away");
    const call = new AbortController();
    const { holding, taken } = counting(() => call.abort(gone));
    const running = decompress("gzip", bomb, most, { signal: call.signal, holding });
    const waiting = decompress("gzip", bomb, most, { signal: call.signal, holding });
    const other = decompress("gzip", bomb, most, { holding: undefined });
    await expect(running).rejects.toBe(gone);
    await expect(waiting).rejects.toBe(gone);
    expect((await other).length).toBe(most);
    expect(taken()).toBeLessThan(mebibyte);
  });

  test("does not even begin to come for a call that has ended", async () => {
    const { holding, taken } = counting(() => undefined);
    const ended = AbortSignal.abort(new Error("the caller went away"));
    await expect(decompress("br", bomb, most, { signal: ended, holding })).rejects.toBe(ended.reason);
    expect(taken()).toBe(0);
  });

  test("comes for a short one while long ones wait", async () => {
    const done: string[] = [];
    const note = (name: string) => () => void done.push(name);
    await Promise.all([
      ...Array.from({ length: 3 }, () =>
        decompress("gzip", bomb, most, { holding: undefined }).then(note("long")),
      ),
      decompress("gzip", gzipSync("short"), most, { holding: undefined }).then(note("short")),
    ]);
    expect(done[0]).toBe("short");
  });
});
