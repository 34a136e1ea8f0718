import fc from "fast-check";
import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { signsId } from "#src/channels/preset.ts";
import { presets } from "#src/channels/presets.ts";
import { schemeProblem } from "#src/channels/signatures/scheme-problem.ts";
import { provingHeaders, type Scheme, type SignatureScheme } from "#src/channels/signatures/scheme.ts";
import { secretProblem } from "#src/channels/signatures/secrets.ts";
import { verifySignature } from "#src/channels/signatures/verify.ts";
import { signatureSchemeOf, signedBy } from "../support/signer.ts";

const noon = new Date("2026-03-01T12:00:00Z");
const pair = generateKeyPairSync("ed25519");
const publicKey = pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32);

/** A key to sign with, and the secret of the channel that it belongs to. */
function keysOf(scheme: SignatureScheme, bytes: Buffer) {
  const [proof] = scheme.proofs;
  if (proof?.algorithm === "ed25519") {
    return { key: pair.privateKey, secret: Buffer.from(publicKey.toString("hex")) };
  }
  const whsec = `whsec_${bytes.toString("base64")}`;
  return { key: bytes, secret: proof?.secret === "whsec" ? Buffer.from(whsec) : bytes };
}

const bytes = (minLength: number) =>
  fc.uint8Array({ minLength, maxLength: 64 }).map((all) => Buffer.from(all));
const signing = [...presets.values()].filter(({ scheme }) => scheme.kind === "signature");
// What Twilio signs of a form has its own tests.
const overBody = signing.filter(({ name }) => name !== "twilio").map(({ name }) => name);

describe("for any body, secret and time", () => {
  const sent = fc.record({
    preset: fc.constantFrom(...overBody),
    body: bytes(0),
    key: bytes(1),
    awaySeconds: fc.integer({ min: -299, max: 299 }),
    id: fc.stringMatching(/^[!-~]{1,20}$/),
  });

  test("a sender that holds one of the secrets is known", async () => {
    await fc.assert(
      fc.asyncProperty(sent, bytes(1), async ({ preset, body, key: bytes, awaySeconds, id }, other) => {
        const scheme = signatureSchemeOf(preset);
        const { key, secret } = keysOf(scheme, bytes);
        const at = new Date(noon.getTime() + awaySeconds * 1_000);
        const request = signedBy(scheme, { body, key, id, at });
        const verdict = await verifySignature(scheme, request, [keysOf(scheme, other).secret, secret], noon);
        expect(verdict).toEqual({
          verified: true,
          scheme: preset,
          ...(scheme.time && { timestamp: at }),
          ...(scheme.idHeader !== undefined && { id }),
        });
      }),
    );
  });

  test("nothing that was signed can be changed by one byte", async () => {
    await fc.assert(
      fc.asyncProperty(sent, fc.nat(), fc.integer({ min: 1, max: 255 }), async (sent, where, by) => {
        const scheme = signatureSchemeOf(sent.preset);
        const { key, secret } = keysOf(scheme, sent.key);
        const request = signedBy(scheme, { ...sent, key, at: noon });
        const flip = (value: Buffer) => {
          const changed = Buffer.from(value);
          const index = where % changed.length;
          changed[index] = (changed[index] ?? 0) ^ by;
          return changed;
        };
        const changed = [
          { ...request, body: sent.body.length === 0 ? Buffer.from([by]) : flip(sent.body) },
          ...request.headers.map(([name, value]) => ({
            ...request,
            headers: request.headers.map((line) =>
              line[0] === name ? ([name, flip(Buffer.from(value)).toString("latin1")] as const) : line,
            ),
          })),
        ];
        for (const one of changed) {
          const isOtherCase =
            JSON.stringify(one.headers).toLowerCase() === JSON.stringify(request.headers).toLowerCase();
          const { verified } = await verifySignature(scheme, one, [secret], noon);
          // Hex is the same in both cases.
          if (one.headers === request.headers || !isOtherCase || scheme.encoding !== "hex")
            expect(verified).toBe(false);
        }
      }),
    );
  });

  test("whatever a stranger sends is an answer, and never an error", async () => {
    const scheme = fc.constantFrom(...[...presets.values()].map(({ scheme }) => scheme));
    const value = fc.oneof(
      fc.string(),
      fc.stringMatching(/^(t=\d{1,20},)?v1[a=,]{1,3}[\w+/=]{0,100}$/),
      fc.stringMatching(/^\d{1,20}$/),
    );
    await fc.assert(
      fc.asyncProperty(
        scheme,
        bytes(0),
        fc.array(value, { maxLength: 4 }),
        fc.boolean(),
        async (scheme, body, values, isForm) => {
          const names = [...provingHeaders(scheme), "content-type"];
          const headers = values.map((value, index) => [names[index % names.length] ?? "", value] as const);
          const type = [
            "content-type",
            isForm ? "application/x-www-form-urlencoded" : "application/json",
          ] as const;
          const request = {
            method: "POST",
            url: "https://hooks.example.com/in/chn_1",
            headers: [...headers, type],
            body,
          };
          const verdict = await verifySignature(scheme, request, [Buffer.from("it is a secret")], noon);
          expect(verdict.verified).toBe(false);
        },
      ),
    );
  });
});

describe("each preset", () => {
  test.each([...presets.values()])(
    "$name is data, names headers in lower case, and has a sound scheme",
    (preset) => {
      expect(JSON.parse(JSON.stringify(preset))).toEqual(preset);
      expect(schemeProblem(preset.scheme)).toBeUndefined();
      const proving = provingHeaders(preset.scheme);
      const lower = [...proving, ...preset.headers].map((name) => name.toLowerCase());
      expect([...proving, ...preset.headers]).toEqual(lower);
      // What proves is not stored.
      expect(preset.headers.filter((name) => proving.includes(name))).toEqual([]);
    },
  );

  test("says of its id whether it is under the signature", () => {
    const signed = [...presets.values()].filter(signsId).map(({ name }) => name);
    expect(signed.sort()).toEqual(["discord", "slack", "standard-webhooks", "stripe", "svix"]);
  });
});

describe("a scheme that a channel brings", () => {
  const good: SignatureScheme = {
    kind: "signature",
    name: "generic",
    header: "x-signature",
    encoding: "hex",
    proofs: [{ algorithm: "hmac-sha512", secret: "text", prefix: "sha512=" }],
    signed: ["{time}.{body}"],
    time: { header: "x-time", unit: "s" },
  };

  test("may be like none of the presets", async () => {
    expect(schemeProblem(good)).toBeUndefined();
    const body = Buffer.from("{}");
    const request = signedBy(good, { body, key: Buffer.from("key"), at: noon });
    expect((await verifySignature(good, request, [Buffer.from("key")], noon)).verified).toBe(true);
  });

  test.each<[string, Scheme, string]>([
    ["whose body is under no signature", { ...good, signed: ["{time}"] }, "{body}"],
    ["with a second text that has no body", { ...good, signed: ["{time}{body}", "{time}"] }, "{body}"],
    [
      "whose form is signed, and nothing where there is none",
      { ...good, signed: ["{time}{form}"] },
      "{body}",
    ],
    ["whose time anyone could change", { ...good, signed: ["{body}"] }, "time"],
    ["whose id anyone could change", { ...good, idHeader: "x-id" }, "id_header"],
    ["that signs an id that is nowhere", { ...good, signed: ["{id}{time}{body}"] }, "id_header"],
    ["that signs what is not known", { ...good, signed: ["{host}{time}{body}"] }, "{host}"],
    [
      "that takes a public key for an HMAC's",
      { ...good, proofs: [{ algorithm: "hmac-sha256", secret: "hex-key" }] },
      "public key",
    ],
    [
      "that takes a text for a public key",
      { ...good, proofs: [{ algorithm: "ed25519", secret: "text" }] },
      "public key",
    ],
    ["without a proof", { ...good, proofs: [] }, "proofs"],
    ["without a text", { ...good, signed: [] }, "signed"],
    ["with a header that is none", { ...good, header: "X Signature" }, "header"],
    [
      "with the time among signatures, and nothing before it",
      { ...good, time: { header: "x-signature", unit: "s" } },
      "time.prefix",
    ],
    ["that would wait for a day", { ...good, toleranceSeconds: 86_400 }, "tolerance_seconds"],
    ["of half a second", { ...good, toleranceSeconds: 0.5 }, "tolerance_seconds"],
    ["whose token is in a header that is none", { kind: "token", name: "generic", header: "" }, "header"],
    ["whose token is at no pointer", { kind: "body-token", name: "generic", pointer: "value" }, "pointer"],
  ])("is refused %s, and its writer learns why", (_, scheme, word) => {
    expect(schemeProblem(scheme)).toContain(word);
  });

  test.each<[string, string, string, boolean]>([
    ["a text", "stripe", "whsec_x", true],
    ["whsec_ and base64", "standard-webhooks", `whsec_${Buffer.alloc(24).toString("base64")}`, true],
    ["whpk_ and 32 bytes", "standard-webhooks", `whpk_${publicKey.toString("base64")}`, true],
    ["whpk_ and fewer", "standard-webhooks", "whpk_AAAA", false],
    ["whsec_ and no base64", "standard-webhooks", "whsec_it is a secret", false],
    ["the digits of a public key", "discord", publicKey.toString("hex"), true],
    ["fewer digits", "discord", "abcd", false],
    ["nothing", "github", "", false],
    ["nothing", "gitlab", "", false],
  ])("takes or refuses as its secret %s (%s)", (_, preset, secret, isGood) => {
    const scheme = presets.get(preset)?.scheme;
    const problem = scheme && secretProblem(scheme, Buffer.from(secret));
    expect(problem === undefined).toBe(isGood);
    if (secret !== "") expect(problem ?? "").not.toContain(secret);
  });
});
