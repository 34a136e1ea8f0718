import { timingSafeEqual, verify, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { hmacInTurns } from "#src/crypto/hmac-in-turns.ts";
import { bytesOfHeader, headerOf, type HeaderLines, type SignedRequest } from "./request.ts";
import { maxToleranceSeconds, type Proof, type SignatureScheme } from "./scheme.ts";
import { exactly, keyOf } from "./secrets.ts";
import { partsOf, piecesOf } from "./signed.ts";

/** What a sender signed beside the body. */
export interface Signed {
  /** When. */
  readonly timestamp?: Date;
  /** The id of what it sent. */
  readonly id?: string;
}

/** Nobody rotates through more; each costs a comparison for each secret. */
const maxSignatures = 16;
/** Each hashes the whole body anew: a stranger must not have it done sixteen times. */
const maxPublicSignatures = 4;

const verifyInThread = promisify(verify);

/** What the sender signed beside the body; undefined if no signature is right, or the time is not near. */
export async function checkSignature(
  scheme: SignatureScheme,
  request: SignedRequest,
  secrets: readonly Buffer[],
  now: Date,
): Promise<Signed | undefined> {
  const { time: where, idHeader } = scheme;
  const id = idHeader === undefined ? undefined : headerOf(request.headers, idHeader);
  const time = timeIn(scheme, request.headers);
  const timestamp = where === undefined || time === undefined ? undefined : instantOf(time, where.unit);
  if (idHeader !== undefined && (id === undefined || id === "")) return undefined;
  if (where !== undefined && (timestamp === undefined || !isNear(timestamp, now, scheme))) return undefined;

  const parts = partsOf(scheme, request, { id, time });
  if (parts === undefined) return undefined;
  const signed = scheme.signed.map((template) => piecesOf(template, parts));
  if (!(await isSigned(scheme, elementsOf(scheme, request.headers), signed, secrets))) return undefined;
  return { ...(timestamp && { timestamp }), ...(id !== undefined && { id }) };
}

/** Whether one of the signatures is one of the secrets' over one of the texts. */
async function isSigned(
  { proofs, encoding }: SignatureScheme,
  elements: readonly string[],
  texts: readonly (readonly Buffer[])[],
  secrets: readonly Buffer[],
): Promise<boolean> {
  if (elements.length > maxSignatures) return false;
  for (const proof of proofs) {
    const given = after(proof.prefix ?? "", elements);
    const keys = given.length === 0 ? [] : secrets.map((secret) => keyOf(proof, secret));
    for (const key of keys.filter((key) => key !== undefined)) {
      for (const text of texts) {
        if (await isGood(proof, given, { encoding, key, text })) return true;
      }
    }
  }
  return false;
}

interface Check {
  readonly encoding: SignatureScheme["encoding"];
  readonly key: KeyObject;
  readonly text: readonly Buffer[];
}

async function isGood({ algorithm }: Proof, given: readonly string[], check: Check): Promise<boolean> {
  const { encoding, key, text } = check;
  const written = encoding === "hex" ? given.map((signature) => signature.toLowerCase()) : given;
  if (algorithm !== "ed25519") {
    const due = Buffer.from(
      (await hmacInTurns(algorithm.slice("hmac-".length), key, text)).toString(encoding),
    );
    return written.map(bytesOfHeader).some((one) => one.length === due.length && timingSafeEqual(one, due));
  }
  const signatures = written
    .map((signature) => exactly(signature, encoding))
    .filter((one) => one?.length === 64);
  if (signatures.length > maxPublicSignatures) return false;
  const whole = Buffer.concat(text);
  for (const signature of signatures) {
    if (signature !== undefined && (await verifyInThread(null, whole, key, signature))) return true;
  }
  return false;
}

function elementsOf({ header, separator }: SignatureScheme, headers: HeaderLines): string[] {
  const line = headerOf(headers, header) ?? "";
  return separator === undefined ? [line] : line.split(separator).map((element) => element.trim());
}

/** The time as it is written. Where it stands among signatures, it must stand there once. */
function timeIn(scheme: SignatureScheme, headers: HeaderLines): string | undefined {
  if (scheme.time === undefined) return undefined;
  const { header, prefix } = scheme.time;
  if (prefix === undefined) return headerOf(headers, header);
  const [time, ...more] = after(prefix, elementsOf({ ...scheme, header }, headers));
  return more.length === 0 ? time : undefined;
}

function after(prefix: string, elements: readonly string[]): string[] {
  return elements
    .filter((element) => element.startsWith(prefix))
    .map((element) => element.slice(prefix.length));
}

/** Digits only: `Number` takes much else, and texts that are no number are neither early nor late. */
function instantOf(time: string, unit: "s" | "ms"): Date | undefined {
  if (!/^\d{1,15}$/.test(time)) return undefined;
  const instant = new Date(Number(time) * (unit === "s" ? 1_000 : 1));
  return Number.isNaN(instant.getTime()) ? undefined : instant;
}

/** To both sides: what was signed for tomorrow could be sent until then. */
function isNear(time: Date, now: Date, { toleranceSeconds = 300 }: SignatureScheme): boolean {
  const awaySeconds = Math.floor(Math.abs(now.getTime() - time.getTime()) / 1_000);
  return awaySeconds <= Math.min(toleranceSeconds, maxToleranceSeconds);
}
