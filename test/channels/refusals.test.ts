import { createHash, createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  getExpectedTwilioSignature,
  validateRequest,
  validateRequestWithBody,
} from "twilio/lib/webhooks/webhooks.js";
import { describe, expect, test } from "vitest";
import type { HeaderLines, SignedRequest } from "#src/channels/signatures/request.ts";
import { verifySignature } from "#src/channels/signatures/verify.ts";
import { schemeOf, signatureSchemeOf, signedBy } from "../support/signer.ts";

const noon = new Date("2026-03-01T12:00:00Z");
const body = Buffer.from('{"id":"evt_1"}');
const secret = Buffer.from("it is a secret");
const url = "https://hooks.example.com/in/chn_1";

async function outcome(preset: string, request: SignedRequest, secrets: readonly Buffer[], now = noon) {
  const verdict = await verifySignature(schemeOf(preset), request, secrets, now);
  return verdict.verified ? "known" : verdict.refusal;
}

const by = (preset: string, key: Buffer | KeyObject = secret, at = noon) =>
  signedBy(signatureSchemeOf(preset), { body, key, at });

/** The same with one header as it is said. */
function withHeader(request: SignedRequest, name: string, value: string): SignedRequest {
  return { ...request, headers: request.headers.map((line) => (line[0] === name ? [name, value] : line)) };
}

describe("examples from the vendors' documents", () => {
  test.each<[string, string, SignedRequest["headers"], string, string, string]>([
    [
      "standard-webhooks",
      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
      [
        ["Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek"],
        ["Webhook-Timestamp", "1614265330"],
        ["Webhook-Signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
      ],
      '{"test": 2432232314}',
      url,
      "2021-02-25T15:02:10Z",
    ],
    [
      "github",
      "It's a Secret to Everybody",
      [["X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"]],
      "Hello, World!",
      url,
      "2026-03-01T12:00:00Z",
    ],
    [
      "twilio",
      "12345",
      [
        ["X-Twilio-Signature", "0/KCTR6DLpKmkAf8muzZqo1nDgQ="],
        ["Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"],
      ],
      "Digits=1234&To=%2B18005551212&From=%2B12349013030&Caller=%2B12349013030&CallSid=CA1234567890ABCDE",
      "https://mycompany.com/myapp.php?foo=1&bar=2",
      "2026-03-01T12:00:00Z",
    ],
  ])("%s", async (preset, key, headers, text, url, now) => {
    const request = { method: "POST", url, headers, body: Buffer.from(text) };
    expect(await outcome(preset, request, [Buffer.from(key)], new Date(now))).toBe("known");
  });
});

describe("a header that must be there once", () => {
  test.each([
    ["of the signature", "slack", "X-Slack-Signature"],
    ["of the time", "slack", "x-slack-request-timestamp"],
    ["of the id", "standard-webhooks", "WEBHOOK-ID"],
    ["of a token", "gitlab", "x-gitlab-token"],
    ["of a name and password", "okta", "Authorization"],
  ])("%s is ambiguous in two lines", async (_, preset, name) => {
    const scheme = schemeOf(preset);
    const request: SignedRequest =
      scheme.kind === "signature"
        ? by(preset)
        : { method: "POST", url, headers: [[name, secret.toString()]], body };
    expect(await outcome(preset, { ...request, headers: [...request.headers, [name, "1"]] }, [secret])).toBe(
      "ambiguous",
    );
  });
});

describe("no sender is known", () => {
  test.each([
    ["without a secret", []],
    ["by an empty secret, which anyone can sign with", [Buffer.alloc(0)]],
  ])("%s", async (_, secrets) => {
    const request = by("github", Buffer.alloc(0));
    expect(await outcome("github", request, secrets)).toBe("wrong");
    const token: HeaderLines = [["x-gitlab-token", ""]];
    expect(await outcome("gitlab", { method: "POST", url, headers: token, body }, secrets)).toBe("wrong");
  });

  test("by the empty key that is left of whsec_", async () => {
    const request = by("standard-webhooks", Buffer.alloc(0));
    expect(await outcome("standard-webhooks", request, [Buffer.from("whsec_")])).toBe("wrong");
  });

  test.each([
    "abc",
    "",
    "-1",
    "+1772366400",
    "1772366400.0",
    "1.7723664e9",
    "0x69a42dc0",
    " 1772366400 x",
    "9".repeat(15),
  ])("by the time %j", async (time) => {
    const headers = [
      ["x-slack-request-timestamp", time],
      [
        "x-slack-signature",
        `v0=${createHmac("sha256", secret).update(`v0:${time}:`).update(body).digest("hex")}`,
      ],
    ] as const;
    expect(await outcome("slack", { method: "POST", url, headers, body }, [secret])).toBe("wrong");
  });

  test.each([
    ["two times", (header: string) => `${header},t=1`],
    ["a time of its own", (header: string) => header.replace(/t=\d+,/, "")],
    ["only a signature of a kind that is not known", (header: string) => header.replace("v1=", "v0=")],
    ["more signatures than anyone rotates through", (header: string) => header + ",v1=00".repeat(16)],
  ])("by a header of Stripe with %s", async (_, change) => {
    const request = by("stripe");
    const header = change(request.headers[0]?.[1] ?? "");
    expect(await outcome("stripe", withHeader(request, "stripe-signature", header), [secret])).toBe("wrong");
  });

  test("by a signature whose base64 is written in another way", async () => {
    const request = by("shopify");
    const unpadded = (request.headers[0]?.[1] ?? "").replace("=", "");
    expect(await outcome("shopify", withHeader(request, "x-shopify-hmac-sha256", unpadded), [secret])).toBe(
      "wrong",
    );
  });
});

describe("public keys", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const whpk = Buffer.from(`whpk_${raw.toString("base64")}`);

  test("Standard Webhooks are known by v1a, beside senders that share a secret", async () => {
    const shared = Buffer.alloc(32, 7);
    const secrets = [Buffer.from(`whsec_${shared.toString("base64")}`), whpk];
    expect(await outcome("standard-webhooks", by("standard-webhooks", privateKey), secrets)).toBe("known");
    expect(await outcome("standard-webhooks", by("standard-webhooks", shared), secrets)).toBe("known");
    const right = by("standard-webhooks", privateKey);
    const [, signature = ""] = right.headers.find(([name]) => name === "webhook-signature") ?? [];
    const many = (wrong: number) =>
      withHeader(
        right,
        "webhook-signature",
        `${`v1a,${Buffer.alloc(64).toString("base64")} `.repeat(wrong)}${signature}`,
      );
    expect(await outcome("standard-webhooks", many(3), secrets)).toBe("known");
    expect(await outcome("standard-webhooks", many(4), secrets)).toBe("wrong");
    const other = generateKeyPairSync("ed25519").privateKey;
    expect(await outcome("standard-webhooks", by("standard-webhooks", other), secrets)).toBe("wrong");
  });

  test("a public key is never the key of an HMAC: everyone knows it", async () => {
    for (const key of [whpk, raw]) {
      expect(await outcome("standard-webhooks", by("standard-webhooks", key), [whpk])).toBe("wrong");
    }
    const hex = Buffer.from(raw.toString("hex"));
    const forged = createHmac("sha256", hex).update("1772366400").update(body).digest("hex");
    const request = withHeader(by("discord", privateKey), "x-signature-ed25519", forged);
    expect(await outcome("discord", request, [hex])).toBe("wrong");
  });

  test("Discord is known by the public key of the application", async () => {
    const hex = Buffer.from(raw.toString("hex").toUpperCase());
    const request = by("discord", privateKey);
    expect(await outcome("discord", request, [hex])).toBe("known");
    expect(await outcome("discord", { ...request, body: Buffer.from("{}") }, [hex])).toBe("wrong");
    expect(await outcome("discord", request, [hex], new Date(noon.getTime() + 301_000))).toBe("wrong");
  });
});

describe("the time that a sender signed", () => {
  test.each([
    ["300 s ago", "slack", -300, "known"],
    ["301 s ago", "slack", -301, "wrong"],
    ["300 s ahead", "slack", 300, "known"],
    ["301 s ahead", "slack", 301, "wrong"],
    ["85 minutes ago, of Zoom, which tries again for so long", "zoom", -5_100, "known"],
    ["91 minutes ago, of Zoom", "zoom", -5_460, "wrong"],
    ["301 s ago, in milliseconds", "hubspot", -301, "wrong"],
    ["299 s ago, in milliseconds", "hubspot", -299, "known"],
  ])("%s", async (_, preset, seconds, expected) => {
    const at = new Date(noon.getTime() + seconds * 1_000);
    expect(await outcome(preset, by(preset, secret, at), [secret])).toBe(expected);
  });

  test("is never further away than 90 minutes, whatever a channel's own scheme says", async () => {
    const scheme = { ...signatureSchemeOf("zoom"), toleranceSeconds: 1_000_000 };
    const request = by("zoom", secret, new Date(noon.getTime() - 5_460_000));
    expect(await verifySignature(scheme, request, [secret], noon)).toEqual({
      verified: false,
      refusal: "wrong",
    });
  });

  test("comes with the verdict, as does the id that was signed", async () => {
    const key = Buffer.alloc(32, 7);
    const request = signedBy(signatureSchemeOf("standard-webhooks"), { body, key, at: noon, id: "msg_8" });
    const secrets = [Buffer.from(`whsec_${key.toString("base64")}`)];
    expect(await verifySignature(schemeOf("standard-webhooks"), request, secrets, noon)).toEqual({
      verified: true,
      scheme: "standard-webhooks",
      timestamp: noon,
      id: "msg_8",
    });
  });
});

describe("Twilio", () => {
  const token = secret.toString();
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const json = { "content-type": "application/json" };
  const sent = (
    url: string,
    body: Buffer,
    type: Record<string, string>,
    signature: string,
  ): SignedRequest => ({
    method: "POST",
    url,
    headers: [...Object.entries(type), ["x-twilio-signature", signature]],
    body,
  });
  const fields = { To: ["+1", "+3", "+1"], From: "+2", Body: "hé&=", a: "1", Z: "2" };
  const formBody = Buffer.from("To=%2B1&a=1&From=%2B2&Z=2&Body=h%C3%A9%26%3D&To=%2B3&To=%2B1");
  const hashed = (of: Buffer) => `${url}?x=1&bodySHA256=${createHash("sha256").update(of).digest("hex")}`;

  test.each(["HMAC_SHA1", "HMAC_SHA256"])(
    "is known by its form, signed by %s, as its own package does",
    async (algorithm) => {
      const signature = getExpectedTwilioSignature(token, url, fields, algorithm);
      expect(validateRequest(token, signature, url, fields, algorithm)).toBe(true);
      expect(
        await outcome("twilio", sent(url, formBody, form, signature), [Buffer.from("other"), secret]),
      ).toBe("known");
      const changed = Buffer.from(formBody.toString().replace("%2B2", "%2B4"));
      expect(await outcome("twilio", sent(url, changed, form, signature), [secret])).toBe("wrong");
      expect(await outcome("twilio", sent(`${url}?a=1`, formBody, form, signature), [secret])).toBe("wrong");
    },
  );

  test.each([
    ["https://hooks.example.com/in/chn_1?q='", "https://hooks.example.com:443/in/chn_1?q='"],
    ["https://hooks.example.com:8443/in/chn_1", "https://hooks.example.com/in/chn_1"],
    ["http://[::1]/in/chn_1", "http://[::1]:80/in/chn_1"],
  ])("at %s may have signed %s", async (public_, signed) => {
    const signature = getExpectedTwilioSignature(token, signed, { a: "1" });
    expect(validateRequest(token, signature, public_, { a: "1" })).toBe(true);
    expect(await outcome("twilio", sent(public_, Buffer.from("a=1"), form, signature), [secret])).toBe(
      "known",
    );
  });

  test("is known by JSON whose hash is in the signed address, and by no other body at that address", async () => {
    const address = hashed(body);
    const signature = getExpectedTwilioSignature(token, address, {});
    expect(validateRequestWithBody(token, signature, address, body.toString())).toBe(true);
    expect(await outcome("twilio", sent(address, body, json, signature), [secret])).toBe("known");
    for (const other of [Buffer.from("{}"), Buffer.alloc(0), Buffer.from("a=1")]) {
      for (const type of [json, form, {}]) {
        expect(await outcome("twilio", sent(address, other, type, signature), [secret])).toBe("wrong");
      }
    }
  });

  test("is not known by a body that nothing vouches for", async () => {
    const signature = getExpectedTwilioSignature(token, url, {});
    expect(await outcome("twilio", sent(url, body, json, signature), [secret])).toBe("wrong");
    const twice = `${hashed(body)}&bodySHA256=0`;
    const signed = getExpectedTwilioSignature(token, twice, {});
    expect(await outcome("twilio", sent(twice, body, json, signed), [secret])).toBe("wrong");
  });

  test("is not known by a form of more fields than it sends", async () => {
    const many = Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`f${index}`, "1"]));
    const signature = getExpectedTwilioSignature(token, url, many);
    const request = sent(url, Buffer.from(new URLSearchParams(many).toString()), form, signature);
    expect(await outcome("twilio", request, [secret])).toBe("wrong");
  });
});

test("HubSpot signs the address with the characters written out that it does not encode", async () => {
  const encoded = `${url}?q=%3a%2F%3F%40%21%24%27%28%29%2A%2C%3B%20%25`;
  const signed = `POST${url}?q=:/?@!$'()*,;%20%25${body.toString()}${noon.getTime()}`;
  const headers = [
    ["X-HubSpot-Signature-v3", createHmac("sha256", secret).update(signed).digest("base64")],
    ["X-HubSpot-Request-Timestamp", String(noon.getTime())],
  ] as const;
  const request = { method: "POST", url: encoded, headers, body };
  expect(await outcome("hubspot", request, [secret])).toBe("known");
  expect(await outcome("hubspot", { ...request, method: "PUT" }, [secret])).toBe("wrong");
});

describe("Graph is known", () => {
  const shown = secret.toString();
  const notification = { clientState: shown, resource: "me/messages" };
  const send = (body: string | Buffer) =>
    outcome("microsoft-graph", { method: "POST", url, headers: [], body: Buffer.from(body) }, [secret]);

  test("if every item shows the secret", async () => {
    expect(await send(JSON.stringify({ value: [notification, notification] }))).toBe("known");
  });

  test.each([
    ["one of two items shows another", { value: [notification, { clientState: "other" }] }],
    ["one of two items shows none", { value: [notification, {}] }],
    ["an item is no object", { value: [notification, shown] }],
    ["there is no item", { value: [] }],
    ["what has items is no list", { value: { clientState: shown } }],
    ["there is nothing", null],
    ["the secret is inherited", { value: [{ constructor: {} }] }],
  ])("and not if %s", async (_, json) => {
    expect(await send(JSON.stringify(json))).toBe("wrong");
  });

  test.each([
    ["gives a name twice", `{"value":[{"clientState":"${shown}","clientState":"${shown}"}]}`],
    ["is no JSON", `{"value":[{"clientState":"${shown}"}]`],
    [
      "is nested too deeply",
      `{"value":[{"clientState":"${shown}"}],"a":${"[".repeat(600)}${"]".repeat(600)}}`,
    ],
  ])("and not if the body %s", async (_, text) => {
    expect(await send(text)).toBe("wrong");
  });
});

describe("a token in a header", () => {
  const send = (preset: string, headers: HeaderLines) =>
    outcome(preset, { method: "POST", url, headers, body: Buffer.alloc(0) }, [Buffer.from("other"), secret]);

  test.each([
    ["gitlab", "X-Gitlab-Token"],
    ["telegram", "X-Telegram-Bot-Api-Secret-Token"],
    ["okta", "authorization"],
    ["event-grid", "x-patchbay-token"],
  ])("of %s is all of it or wrong", async (preset, name) => {
    expect(await send(preset, [[name, secret.toString()]])).toBe("known");
    expect(await send(preset, [[name, secret.toString().slice(0, -1)]])).toBe("wrong");
    expect(await send(preset, [[name, `${secret.toString()}x`]])).toBe("wrong");
    expect(await send(preset, [])).toBe("wrong");
  });

  test("may be a name with its password", async () => {
    const scheme = { kind: "basic", name: "basic" } as const;
    const send = async (authorization: string) => {
      const request: SignedRequest = {
        method: "POST",
        url,
        headers: [["Authorization", authorization]],
        body,
      };
      return (await verifySignature(scheme, request, [Buffer.from("jo:é:pw")], noon)).verified;
    };
    const given = Buffer.from("jo:é:pw").toString("base64");
    expect(await send(`Basic ${given}`)).toBe(true);
    expect(await send(`basic  ${given}`)).toBe(true);
    for (const wrong of [
      given,
      `Bearer ${given}`,
      `Basic ${given} x`,
      "Basic ",
      `Basic ${Buffer.from("jo:").toString("base64")}`,
    ]) {
      expect(await send(wrong)).toBe(false);
    }
  });
});

test("while 10 MiB are hashed, others have their turn", async () => {
  const large = Buffer.alloc(10 * 1024 * 1024, 97);
  const request = signedBy(signatureSchemeOf("github"), { body: large, key: secret, at: noon });
  const checking = { done: false };
  const verdict = outcome("github", request, [Buffer.from("other"), secret]).finally(
    () => (checking.done = true),
  );
  let turns = 0;
  while (!checking.done) {
    await nextTurn();
    turns++;
  }
  expect(await verdict).toBe("known");
  expect(turns).toBeGreaterThanOrEqual(18);
});
