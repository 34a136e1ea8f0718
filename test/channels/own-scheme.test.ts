import type { MessageInitShape } from "@bufbuild/protobuf";
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SignatureSchemeSchema } from "#gen/patchbay/events/v1/channel_pb.js";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

type Given = MessageInitShape<typeof SignatureSchemeSchema>;
const secret = "it is a secret";
const body = '{"type":"paid"}';

const create = (signature: Given, preset = "") =>
  service.org.client.channels.createChannel({
    ...{ name: "shop", secret },
    source: { case: "webhook", value: { preset, signature } },
  });
const post = async (url: string, headers: Record<string, string>) =>
  (await fetch(url, { method: "POST", body, headers: { "content-type": "application/json", ...headers } }))
    .status;

test("a channel takes what is signed in the way that it was told, and nothing else", async () => {
  const signature = {
    ...{
      header: "x-shop-signature",
      prefix: "v1=",
      separator: ",",
      algorithm: "hmac-sha512",
      encoding: "base64",
    },
    ...{ signed: "{id}.{time}.{body}", idHeader: "x-shop-id" },
    ...{ timeHeader: "x-shop-signature", timePrefix: "t=", timeUnit: "ms", toleranceSeconds: 60 },
  };
  const { url, channel } = await create(signature);
  const signedAt = async (at: number, key = secret) => {
    const sum = createHmac("sha512", key).update(`7.${at}.${body}`).digest("base64");
    return post(url, { "x-shop-id": "7", "x-shop-signature": `t=${at},v1=${sum}` });
  };
  const now = service.clock.now().getTime();
  expect(await signedAt(now - 50_000)).toBe(200);
  expect(await signedAt(now - 70_000)).toBe(401);
  expect(await signedAt(now, "another")).toBe(401);

  const { channel: read } = await service.org.client.channels.getChannel({ id: channel!.id });
  expect(read!.source).toMatchObject({
    case: "webhook",
    value: { preset: "generic", signature: { ...signature, secretForm: "text" } },
  });
});

test("what is left out is as most senders do: the HMAC-SHA256 of the body in hex", async () => {
  const { url } = await create({ header: "X-Sum" });
  const sum = createHmac("sha256", secret).update(body).digest("hex");
  expect(await post(url, { "x-sum": sum })).toBe(200);
  expect(await post(url, { "x-sum": sum.replace(/^./, "-") })).toBe(401);
});

describe("is refused, and says why", () => {
  test.each<[string, Given, string, string]>([
    [
      "a signature without the body",
      { header: "x-sum", signed: "{time}", timeHeader: "x-t" },
      "",
      "must hold {body}",
    ],
    ["a time that is not signed", { header: "x-sum", timeHeader: "x-t" }, "", "time and {time}"],
    ["a public key for an HMAC", { header: "x-sum", secretForm: "whpk" }, "", "public key"],
    ["a signature of a vendor that is known", { header: "x-sum" }, "stripe", "preset generic"],
  ])("%s", async (_, signature, preset, words) => {
    await expect(create(signature, preset)).rejects.toThrow(words);
  });
});
