import { isUtf8 } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { walkJson } from "#src/json/walk.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import { valuesAt } from "../pointer.ts";
import { bytesOfHeader, headerOf, type SignedRequest } from "./request.ts";
import type { BodyTokenScheme, TokenScheme } from "./scheme.ts";

/** What is read of a stranger's JSON to find a secret in it. */
const maxJsonBytes = 256 * 1024;
const maxDepth = 100;

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
  const json = await readJson(body);
  if (json === undefined) return false;
  const shown = valuesAt(json.value, pointer);
  return (
    shown.length > 0 &&
    shown.every((value) => typeof value === "string" && isOneOf(secrets, Buffer.from(value, "utf8")))
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

/**
 * The body's JSON, unless it gives a name twice: one of the two would be compared, and the other masked. The walk comes
 * first because it lets others have their turn, and ends where the nesting is too deep.
 */
async function readJson(body: Buffer): Promise<{ value: unknown } | undefined> {
  if (body.length > maxJsonBytes || !isUtf8(body)) return undefined;
  const text = body.toString("utf8");
  try {
    await inTurns(walkJson(text, { maxDepth, allowsNul: true, anyNumber: true }));
  } catch (error) {
    if (error instanceof InvalidRequest) return undefined;
    throw error;
  }
  return { value: JSON.parse(text) };
}
