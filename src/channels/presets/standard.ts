import type { Preset } from "../preset.ts";
import type { SignatureScheme } from "../signatures/scheme.ts";
import { hmacSha256, numbered } from "./common.ts";

/** A signature as Standard Webhooks writes it, in headers of these names. */
function standardScheme(name: string, prefix: string): SignatureScheme {
  return {
    kind: "signature",
    name,
    header: `${prefix}-signature`,
    separator: " ",
    encoding: "base64",
    proofs: [
      { algorithm: "hmac-sha256", prefix: "v1,", secret: "whsec" },
      { algorithm: "ed25519", prefix: "v1a,", secret: "whpk" },
    ],
    signed: ["{id}.{time}.{body}"],
    idHeader: `${prefix}-id`,
    time: { header: `${prefix}-timestamp`, unit: "s" },
  };
}

/** Of any sender, and of those that keep to a standard. */
export const standard: readonly Preset[] = [
  {
    name: "generic",
    title: "Any sender that signs with HMAC-SHA256",
    scheme: {
      kind: "signature",
      name: "generic",
      header: "x-signature",
      encoding: "hex",
      proofs: [hmacSha256],
      signed: ["{body}"],
    },
    secret: "a text that both sides know",
    secretIsTheirs: false,
    source: "urn:patchbay:webhook",
    type: [{ pointer: "/type" }, { pointer: "/event" }],
    defaultType: "webhook.received",
    masked: [],
    headers: [],
    reply: numbered,
    notes:
      "Of a sender that signs in another way, say how in the channel's own scheme. Without a signed time or id, whoever has one signed request can send it again.",
  },
  {
    name: "standard-webhooks",
    title: "Standard Webhooks",
    scheme: standardScheme("standard-webhooks", "webhook"),
    secret: "whsec_ and base64, or the public key of the sender as whpk_ and base64",
    secretIsTheirs: false,
    source: "urn:patchbay:standard-webhooks",
    id: { header: "webhook-id" },
    type: [{ pointer: "/type" }],
    defaultType: "webhook.received",
    time: { pointer: "/timestamp" },
    masked: [],
    headers: [],
    reply: numbered,
    notes: "Also of GitLab, where its hook has a signing token.",
  },
  {
    name: "svix",
    title: "Svix",
    scheme: standardScheme("svix", "svix"),
    secret: "the signing secret of the endpoint, whsec_ and base64",
    secretIsTheirs: true,
    source: "urn:patchbay:svix",
    id: { header: "svix-id" },
    type: [{ pointer: "/type" }, { pointer: "/event_type" }, { pointer: "/eventType" }],
    defaultType: "webhook.received",
    time: { pointer: "/timestamp" },
    masked: [],
    headers: [],
    reply: numbered,
    notes: "Of the many services that send through Svix, such as Clerk and Resend.",
  },
];
