import { createHash, timingSafeEqual } from "node:crypto";
import { quote } from "#src/platform/ascii.ts";
import { placesIn, wantedPlaces } from "../json-places.ts";
import { shortTextAt } from "../json-spans.ts";
import { bytesOfHeader, headerOf, type SignedRequest } from "./request.ts";
import type { BodyTokenScheme, TokenScheme } from "./scheme.ts";

/** Whether the header holds one of the secrets. */
export function showsToken(
  { header, prefix = "" }: TokenScheme,
  { headers }: SignedRequest,
  secrets: readonly Buffer[],
): boolean {
  const value = headerOf(headers, header);
  return (
    value !== undefined &&
    value.startsWith(prefix) &&
    isOneOf(secrets, bytesOfHeader(value.slice(prefix.length)))
  );
}

/** Whether the Authorization header holds one of the names with its password. */
export function showsBasic({ headers }: SignedRequest, secrets: readonly Buffer[]): boolean {
  const [, given] = /^basic +([\w+/-]+={0,2}) *$/i.exec(headerOf(headers, "authorization") ?? "") ?? [];
  return given !== undefined && isOneOf(secrets, Buffer.from(given, "base64"));
}

/** Whether each item of the body shows one of the secrets, and there is an item. */
export async function showsBodyToken(
  { pointer }: BodyTokenScheme,
  { body }: SignedRequest,
  secrets: readonly Buffer[],
): Promise<boolean> {
  const item = pointer.slice(0, pointer.lastIndexOf("/"));
  const found = (await placesIn(body, wantedPlaces([item, pointer]))) ?? [];
  const shown = found.filter(({ wanted }) => wanted === pointer);
  // As many as there are items: none shows two, of which another reader might take the other.
  return (
    shown.length > 0 &&
    shown.length === found.length - shown.length &&
    shown.every(
      (span) => body[span.start] === quote && isOneOf(secrets, Buffer.from(shortTextAt(body, span))),
    )
  );
}

/** Hashed, so that neither time nor length says how much of it is right. */
function isOneOf(secrets: readonly Buffer[], given: Buffer): boolean {
  const hash = sha256(given);
  return secrets.some((secret) => secret.length > 0 && timingSafeEqual(sha256(secret), hash));
}

function sha256(bytes: Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
}
