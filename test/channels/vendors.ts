import { verify as verifyOcto } from "@octokit/webhooks-methods";
import { Webhooks } from "@octokit/webhooks";
import { isValidSlackRequest } from "@slack/bolt/dist/receivers/verify-request.js";
import { ApiVersion, LogSeverity, shopifyApi } from "@shopify/shopify-api";
import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { Stripe } from "stripe";
import { Webhook as SvixWebhook } from "svix";
import type { HeaderLines, SignedRequest } from "#src/channels/signatures/request.ts";

// Tells its package what runs it.
await import("@shopify/shopify-api/adapters/node");

/** A vendor's own code: what it sends, and what it takes for genuine. */
export interface Vendor {
  readonly name: string;
  readonly preset: string;
  /** A secret as the vendor writes it, and the bytes that it signs with. */
  secret(n: number): string;
  key(secret: string): Buffer;
  /** Absent: its package only checks. */
  sign?(body: string, at: Date, secret: string): HeaderLines | Promise<HeaderLines>;
  accepts(request: SignedRequest, secret: string): boolean | Promise<boolean>;
  /** Where its package does not say what is true. */
  readonly takesTheFuture?: true;
  readonly refusesNothing?: true;
}

const whsec = (n: number) => `whsec_${Buffer.alloc(32, n).toString("base64")}`;
const fromWhsec = (secret: string) => Buffer.from(secret.slice("whsec_".length), "base64");
const text = (n: number) => `a secret that is number ${n}`;
const asText = (secret: string) => Buffer.from(secret);
const seconds = (at: Date) => Math.floor(at.getTime() / 1000);
const objectOf = ({ headers }: SignedRequest) => Object.fromEntries(headers);

const stripe = new Stripe("sk_test_unused");

/** The secret is the app's, and so of the whole API object. */
function shopifyWith(secret: string) {
  return shopifyApi({
    apiKey: "key",
    apiSecretKey: secret,
    hostName: "hooks.example.com",
    apiVersion: ApiVersion.July25,
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error },
  });
}

export const vendors: readonly Vendor[] = [
  {
    name: "stripe",
    preset: "stripe",
    secret: whsec,
    key: asText,
    sign: (body, at, secret) => [
      [
        "stripe-signature",
        stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: seconds(at) }),
      ],
    ],
    accepts: (request, secret) => {
      const header = objectOf(request)["stripe-signature"] ?? "";
      return stripe.webhooks.signature?.verifyHeader(request.body, header, secret, 300) ?? false;
    },
    takesTheFuture: true,
  },
  {
    name: "standardwebhooks",
    preset: "standard-webhooks",
    secret: whsec,
    key: fromWhsec,
    sign: (body, at, secret) => [
      ["webhook-id", "msg_1"],
      ["webhook-timestamp", String(seconds(at))],
      ["webhook-signature", new Webhook(secret).sign("msg_1", at, body)],
    ],
    accepts: (request, secret) => {
      new Webhook(secret).verify(request.body, objectOf(request), { jsonParse: false });
      return true;
    },
  },
  {
    name: "svix",
    preset: "svix",
    secret: whsec,
    key: fromWhsec,
    sign: (body, at, secret) => [
      ["svix-id", "msg_1"],
      ["svix-timestamp", String(seconds(at))],
      ["svix-signature", new SvixWebhook(secret).sign("msg_1", at, body)],
    ],
    accepts: (request, secret) => {
      try {
        new SvixWebhook(secret).verify(request.body.toString(), objectOf(request));
      } catch (error) {
        // It was genuine, and is no JSON.
        if (error instanceof SyntaxError) return true;
        throw error;
      }
      return true;
    },
  },
  {
    name: "octokit's methods",
    preset: "github",
    secret: text,
    key: asText,
    accepts: (request, secret) =>
      verifyOcto(secret, request.body.toString(), objectOf(request)["x-hub-signature-256"] ?? ""),
    refusesNothing: true,
  },
  {
    name: "octokit",
    preset: "github",
    secret: text,
    key: asText,
    sign: async (body, _at, secret) => [["x-hub-signature-256", await new Webhooks({ secret }).sign(body)]],
    accepts: (request, secret) =>
      new Webhooks({ secret }).verify(
        request.body.toString(),
        objectOf(request)["x-hub-signature-256"] ?? "",
      ),
    refusesNothing: true,
  },
  {
    name: "bolt",
    preset: "slack",
    secret: text,
    key: asText,
    accepts: (request, secret) =>
      isValidSlackRequest({
        signingSecret: secret,
        body: request.body.toString(),
        headers: {
          "x-slack-signature": objectOf(request)["x-slack-signature"] ?? "",
          "x-slack-request-timestamp": Number(objectOf(request)["x-slack-request-timestamp"]),
        },
      }),
    takesTheFuture: true,
  },
  {
    name: "shopify",
    preset: "shopify",
    secret: text,
    key: asText,
    // Its package has no signer: this is its document's.
    sign: (body, _at, secret) => [
      ["x-shopify-hmac-sha256", createHmac("sha256", secret).update(body).digest("base64")],
    ],
    accepts: async (request, secret) => {
      const others = {
        "x-shopify-topic": "orders/create",
        "x-shopify-shop-domain": "shop.example.com",
        "x-shopify-api-version": "2025-07",
        "x-shopify-webhook-id": "1",
      };
      const { valid } = await shopifyWith(secret).webhooks.validate({
        rawBody: request.body.toString(),
        rawRequest: { method: "POST", url: "/", headers: { ...objectOf(request), ...others } },
      });
      return valid;
    },
    refusesNothing: true,
  },
];

/** Whether the vendor's own package takes it: one that throws does not. */
export async function isTakenBy(vendor: Vendor, request: SignedRequest, secrets: readonly string[]) {
  for (const secret of secrets) {
    try {
      if (await vendor.accepts(request, secret)) return true;
    } catch {
      // How most of them say no.
    }
  }
  return false;
}
