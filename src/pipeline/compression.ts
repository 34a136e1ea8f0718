import { type DescMessage, type DescMethod, getOption } from "@bufbuild/protobuf";
import { secret } from "#gen/patchbay/options/v1/options_pb.js";
import { lengthOf, type Pieced, whole } from "#src/platform/bytes.ts";
import type { Response } from "#src/platform/http.ts";
import { WaitedTooLong } from "#src/platform/turns.ts";
import { acceptedOf } from "./accept-encoding.ts";
import { isCompressible } from "./compressible.ts";
import { compressors, type Compressor } from "./compressors.ts";
import type { Exchange } from "./exchange.ts";
import type { Answer } from "./lane.ts";

/** Answers of fewer bytes are sent as they are: it would cost more than it saves. */
export const compressFromBytes = 1024;

const known = compressors.map(({ name }) => name);

/** Whoever takes an answer as it is waits no longer for others to be compressed: it has a deadline, and others may ask on. */
const patienceMs = 100;

/** What an answer is compressed with, and from how many bytes on. */
export interface Compression extends Compressor {
  readonly fromBytes: number;
}

/** The compression that a caller prefers, as its `accept-encoding` or `grpc-accept-encoding` says; undefined for none. */
export function compressionFor(accepted: string | string[] | undefined): Compression | undefined {
  if (accepted === undefined) return undefined;
  const { coding, plain } = acceptedOf([accepted].flat().join(), known);
  const found = compressors.find(({ name }) => name === coding);
  return found && { ...found, fromBytes: plain ? compressFromBytes : 0 };
}

/** The bytes of a call's answer, compressed if there is something to do it with, they are long enough, and it may be. */
export async function compressed(
  plain: Pieced,
  compression: Compression | undefined,
  exchange: Pick<Exchange, "method" | "signal" | "holding">,
): Promise<{ body: Pieced; coding?: string }> {
  if (compression === undefined || answersSecret(exchange.method)) return { body: plain };
  const length = lengthOf(plain);
  if (length < compression.fromBytes) return { body: plain };
  // Whoever takes an answer as it is has nothing of a coding that makes it no shorter.
  const takesPlain = compression.fromBytes > 0;
  if (takesPlain && !(await isCompressible(longestOf(plain)))) return { body: plain };
  // Until it is done both are there, and the one may be as long as the other.
  exchange.holding?.become(2 * length);
  try {
    const wait = { signal: exchange.signal, ...(takesPlain && { patienceMs }) };
    const body = [await compression.compress(whole(plain), wait)];
    return { body, coding: compression.name };
  } catch (error) {
    if (!exchange.signal.aborted && !(error instanceof WaitedTooLong)) throw error;
    // Its turn did not come in time. What was done is told all the same, if its caller is still there.
    return { body: plain };
  }
}

/** The answer, compressed if its caller takes that and it is worth it, and with its length. */
export async function compressedAnswer(
  { status, headers, body: plain }: Answer & { readonly body: Pieced },
  compression: Compression | undefined,
  exchange: Exchange,
): Promise<Answer> {
  const { body, coding } = await compressed(plain, compression, exchange);
  const length = { "content-length": lengthOf(body) };
  return {
    status,
    headers: { ...headers, ...(coding !== undefined && { "content-encoding": coding }), ...length },
    body,
  };
}

/** What a long answer is made of, but for a few bytes around it. */
function longestOf(pieces: Pieced): Uint8Array {
  return pieces.reduce((longest, piece) => (piece.length > longest.length ? piece : longest), Buffer.of());
}

/**
 * Whether the answers of a method hold a secret, which its contract marks as `secret`: those are never
 * compressed. From the length of a compressed answer, whoever sees it pass learns how much of the secret is like the
 * rest, a part of which it may have chosen: the name of a key (the attack that is called BREACH). What connected
 * services answer is compressed: no page can make a browser ask for it again and again, since a key is never sent by
 * itself, as cookies are; and the credential of a connection is in no answer.
 */
export function answersSecret({ output }: DescMethod): boolean {
  const known = secretive.get(output);
  if (known !== undefined) return known;
  const found = holdsSecret(output, new Set());
  secretive.set(output, found);
  return found;
}

const secretive = new Map<DescMessage, boolean>();

function holdsSecret(message: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(message)) return false;
  seen.add(message);
  return message.fields.some(
    (field) => getOption(field, secret) || (field.message !== undefined && holdsSecret(field.message, seen)),
  );
}

/** Says that the answer depends on what its caller can undo, also where this one is not compressed. */
export function varyByEncoding(response: Response): void {
  const others = response.getHeader("vary");
  response.setHeader("vary", others === undefined ? "accept-encoding" : `${String(others)}, accept-encoding`);
}
