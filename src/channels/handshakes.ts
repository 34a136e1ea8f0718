import { createHmac, timingSafeEqual } from "node:crypto";
import { hash } from "node:crypto";
import type { OpenAnswer } from "#src/platform/open-route.ts";
import { OriginNotAllowed, UnknownSender } from "./errors.ts";
import type { Receiving } from "./receiving.ts";
import { headerOf, type SignedRequest } from "./signatures/request.ts";

/** No vendor's handshake is longer. */
const longest = 16 * 1024;
/** What vendors' challenges are made of. Nothing that could be a body whose signature someone is after. */
const plainToken = /^[\w+/=-]{1,256}$/;

/** What a handshake is answered by. */
export interface HandshakeParts {
  readonly receiving: Receiving;
  readonly request: SignedRequest;
  /** The secrets that are good now. */
  readonly secrets: readonly Buffer[];
  /** What Meta is told to show. */
  readonly verifyToken: () => string;
}

/**
 * The answer to a request by which a vendor makes sure that the address wants its events, and that carries no proof of
 * its sender: whoever sends it learns that the address is a channel's, and nothing else. Undefined if it is none.
 */
export function openHandshake({
  receiving,
  request,
  secrets,
  verifyToken,
}: HandshakeParts): OpenAnswer | undefined {
  const { method, headers, url } = request;
  const { kind, preset } = receiving;
  if (method === "OPTIONS" && kind === "cloudevents") return grantOrigin(receiving, request);
  if (preset.handshake === undefined) return undefined;
  const query = new URL(url).searchParams;
  switch (preset.handshake) {
    case "graph-validation-token": {
      const token = query.get("validationToken");
      return method === "POST" && token !== null && token.length <= longest ? text(token) : undefined;
    }
    case "meta-challenge": {
      const challenge = query.get("hub.challenge");
      const isAsked = method === "GET" && query.get("hub.mode") === "subscribe" && challenge !== null;
      if (!isAsked) return undefined;
      if (!isSame(query.get("hub.verify_token") ?? "", verifyToken())) throw new UnknownSender();
      return text(challenge);
    }
    case "x-crc": {
      const token = query.get("crc_token") ?? "";
      const [secret] = secrets;
      if (method !== "GET" || !plainToken.test(token) || secret === undefined) return undefined;
      return json({ response_token: `sha256=${hmac(secret, token, "base64")}` });
    }
    case "okta-challenge": {
      const challenge = headerOf(headers, "x-okta-verification-challenge");
      return method === "GET" && challenge !== undefined ? json({ verification: challenge }) : undefined;
    }
    default:
      return undefined;
  }
}

type Asked = Pick<HandshakeParts, "receiving" | "request">;

/** Whether the request says that it is a handshake whose body is to be read, before its sender is known. */
export function asksByBody({ receiving, request }: Asked): boolean {
  const isAzure = receiving.preset.handshake === "event-grid-validation";
  return isAzure && headerOf(request.headers, "aeg-event-type") === "SubscriptionValidation";
}

/** The answer to a handshake of that kind. Undefined if the request is none. */
export function bodyHandshake({ receiving, request }: Asked): OpenAnswer | undefined {
  if (!asksByBody({ receiving, request })) return undefined;
  const [event] = Array.isArray(shortJson(request.body)) ? (shortJson(request.body) as unknown[]) : [];
  const code = memberOf(memberOf(event, "data"), "validationCode");
  return typeof code === "string" ? json({ validationResponse: code }) : undefined;
}

/**
 * Whether the body is one that the channel itself has signed for whoever asked: X has its challenges signed with the
 * secret of its events, so one of them could come back as an event.
 */
export function isSignedForAnybody({ receiving, request }: Asked): boolean {
  const { body } = request;
  return (
    receiving.preset.handshake === "x-crc" && body.length <= 256 && plainToken.test(body.toString("latin1"))
  );
}

/** The answer to a handshake whose sender proved itself. Undefined if the request is none. */
export function provenHandshake({ receiving, request, secrets }: HandshakeParts): OpenAnswer | undefined {
  const { handshake } = receiving.preset;
  switch (handshake) {
    case "slack-url-verification": {
      const body = bodyWith(request, "url_verification");
      const challenge = memberOf(body, "challenge");
      const isAsked = memberOf(body, "type") === "url_verification" && typeof challenge === "string";
      return isAsked ? text(challenge) : undefined;
    }
    case "zoom-url-validation": {
      const body = bodyWith(request, "endpoint.url_validation");
      const token = memberOf(memberOf(body, "payload"), "plainToken");
      const [secret] = secrets;
      if (memberOf(body, "event") !== "endpoint.url_validation" || secret === undefined) return undefined;
      if (typeof token !== "string" || !plainToken.test(token)) return undefined;
      return json({ plainToken: token, encryptedToken: hmac(secret, token, "hex") });
    }
    case "discord-ping": {
      const body = bodyWith(request, '"type"');
      // Of interactions, 1 is a ping and wants one; of webhook events, 0 is, and wants no body.
      if (memberOf(body, "type") === 1 && memberOf(body, "event") === undefined) return json({ type: 1 });
      return memberOf(body, "type") === 0 ? { status: 204, headers: {} } : undefined;
    }
    default:
      return undefined;
  }
}

function grantOrigin(
  { allowedOrigins, receiver }: Receiving,
  { headers }: SignedRequest,
): OpenAnswer | undefined {
  const origin = headerOf(headers, "webhook-request-origin");
  if (origin === undefined) return undefined;
  // No prefix, no pattern: "eventemitter.example.com.evil.example" begins like a listed one.
  if (!allowedOrigins.includes(origin)) throw new OriginNotAllowed();
  return {
    status: 200,
    headers: {
      allow: "POST",
      "webhook-allowed-origin": origin,
      "webhook-allowed-rate": String(receiver.requestsPerMinute),
    },
  };
}

/** The JSON of a body that has the mark: most are no handshake, and none of those is parsed. */
function bodyWith({ body }: SignedRequest, mark: string): unknown {
  return body.length <= longest && body.includes(mark) ? shortJson(body) : undefined;
}

function shortJson(body: Buffer): unknown {
  if (body.length > longest) return undefined;
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

/** Hashed, so that neither time nor length says how much of it is right. */
function isSame(given: string, expected: string): boolean {
  return timingSafeEqual(hash("sha256", given, "buffer"), hash("sha256", expected, "buffer"));
}

function hmac(secret: Buffer, message: string, encoding: "hex" | "base64"): string {
  return createHmac("sha256", secret).update(message).digest(encoding);
}

function text(body: string): OpenAnswer {
  return answer("text/plain; charset=utf-8", body);
}

function json(body: object): OpenAnswer {
  return answer("application/json", JSON.stringify(body));
}

function answer(contentType: string, body: string): OpenAnswer {
  return { status: 200, headers: { "content-type": contentType }, body: Buffer.from(body) };
}
