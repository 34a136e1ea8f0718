import { createSecretKey } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { localRootKey, newRootKeyText } from "#src/crypto/root-key.ts";
import { open, seal, SealBroken } from "#src/crypto/seal.ts";

const key = createSecretKey(Buffer.alloc(32, 7));
const context = ["org_1", "connection", "scn_1", "1", "1"];

describe("sealed bytes", () => {
  test("open with the key and context that they were sealed with", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.array(fc.string(), { maxLength: 5 }), (plain, parts) => {
        expect(open(key, seal(key, Buffer.from(plain), parts), parts)).toStrictEqual(Buffer.from(plain));
      }),
    );
  });

  test("do not open in any other context, also when its parts are cut elsewhere", () => {
    const sealed = seal(key, Buffer.from("secret"), ["a", "bc"]);
    for (const other of [["ab", "c"], ["a", "bd"], ["a"], ["a", "bc", ""], []]) {
      expect(() => open(key, sealed, other)).toThrow(SealBroken);
    }
  });

  test("do not open with another key", () => {
    const sealed = seal(key, Buffer.from("secret"), context);
    expect(() => open(createSecretKey(Buffer.alloc(32, 8)), sealed, context)).toThrow(SealBroken);
  });

  test("do not open when any byte is changed, or any is missing", () => {
    const sealed = seal(key, Buffer.from("secret"), context);
    for (let i = 0; i < sealed.length; i++) {
      const changed = Buffer.from(sealed);
      changed[i]! ^= 1;
      expect(() => open(key, changed, context)).toThrow(SealBroken);
      expect(() => open(key, sealed.subarray(0, i), context)).toThrow(SealBroken);
    }
  });

  test("differ each time, since the nonce is random", () => {
    const seals = new Set(
      Array.from({ length: 100 }, () => seal(key, Buffer.from("x"), context).toString("hex")),
    );
    expect(seals.size).toBe(100);
  });

  // Computed with Python's cryptography (AESGCM): format 1, nonce 00…0b, AAD 01 and each part behind its length.
  test("have the format that is documented, so that another program can open them", () => {
    const sealed = Buffer.from(
      "0100000000000000000000000b856bc4a2003e74cf585addb8f690c3aedc9c1569a4a8477284b20e982a0c71",
      "hex",
    );
    expect(open(key, sealed, ["org_1", "connection"]).toString()).toBe("a stored secret");
  });
});

describe("a root key", () => {
  test("wraps for one context, and another key does not unwrap", async () => {
    const root = localRootKey(newRootKeyText());
    const wrapped = await root.wrap(Buffer.from("kek"), ["kek", "org_1"]);
    expect((await root.unwrap(wrapped, ["kek", "org_1"])).toString()).toBe("kek");
    await expect(root.unwrap(wrapped, ["kek", "org_2"])).rejects.toThrow(SealBroken);
    await expect(localRootKey(newRootKeyText()).unwrap(wrapped, ["kek", "org_1"])).rejects.toThrow(
      SealBroken,
    );
  });

  test("is named by an id that does not hold it", () => {
    const text = newRootKeyText();
    const { id } = localRootKey(text);
    expect(id).toMatch(/^local:[0-9a-f]{16}$/);
    expect(localRootKey(`${text}\n`).id).toBe(id);
    expect(Buffer.from(text, "base64").toString("hex")).not.toContain(id.slice("local:".length));
  });

  test.each([
    "",
    "short",
    Buffer.alloc(31).toString("base64"),
    `${newRootKeyText()}x`,
    Buffer.alloc(32).toString("hex"),
  ])("of the wrong form (%j) is refused with the command that makes one", (text) => {
    expect(() => localRootKey(text)).toThrow(/openssl rand -base64 32/);
  });
});
