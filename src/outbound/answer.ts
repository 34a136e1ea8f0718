import { codingsOf, inflated, inflatedInPart, isReadable, type Hold } from "./body.ts";
import { CredentialReflected, UpstreamTooLarge } from "./errors.ts";
import { moreThan } from "./failures.ts";
import { replyHeaders, type Fields } from "./headers.ts";
import type { RawAnswer } from "./receive.ts";
import { reflects } from "./reflection.ts";

/** How an answer is read. */
export interface AnswerRules {
  readonly host: string;
  /** What must not be in it. */
  readonly secrets: readonly string[];
  /** The most bytes of the body when it is inflated. */
  readonly bodyBytes: number;
  readonly hold: Hold;
}

/** The answer as it is passed on: not compressed, if it can be inflated, and without headers that concern only us. */
export async function readAnswer({ status, headers, body: received }: RawAnswer, rules: AnswerRules) {
  const { host, secrets, bodyBytes, hold } = rules;
  const fields = replyHeaders(headers);
  const decoded = await withoutCoding(fields, received, bodyBytes, hold);
  if (decoded === undefined) throw new UpstreamTooLarge(host, moreThan(bodyBytes), status);
  if (await reflects([headerText(fields), ...decoded.seen], secrets)) {
    throw new CredentialReflected(host, status);
  }
  return { status, headers: recordOf(fields), body: decoded.body };
}

/** A body as it is passed on, and all that can be seen in it. */
interface Decoded {
  readonly body: Buffer;
  readonly seen: readonly Buffer[];
}

/**
 * The body inflated, and the headers without what no longer fits it. A body that cannot be inflated stays as it is,
 * and so does the header that names its coding: what the service answered is not thrown away. A body with two codings
 * on top of each other stays as it is too, since each multiplies the bytes that the other one hides.
 */
async function withoutCoding(
  fields: Fields,
  body: Buffer,
  limitBytes: number,
  hold: Hold,
): Promise<Decoded | undefined> {
  // An answer to HEAD has the headers of a body that does not come.
  if (body.length === 0) return { body, seen: [] };
  const codings = codingsOf(fields.get("content-encoding") ?? "");
  const [coding, ...more] = codings;
  if (coding === undefined) {
    fields.delete("content-encoding");
    return { body, seen: [body] };
  }
  const plain =
    more.length === 0 && isReadable(coding) ? await inflated(body, coding, limitBytes, hold) : "damaged";
  if (plain === "too large") return undefined;
  if (plain === "damaged") return { body, seen: await layersOf(body, codings, limitBytes, hold) };
  fields.delete("content-encoding");
  fields.delete("content-length");
  return { body: plain, seen: [plain] };
}

/** In practice, no service puts more codings on top of each other. */
const maxLayers = 4;

/** The body, and what can be read under its codings. */
async function layersOf(
  body: Buffer,
  codings: readonly string[],
  limitBytes: number,
  hold: Hold,
): Promise<Buffer[]> {
  const layers = [body];
  let layer = body;
  for (const coding of codings.toReversed().slice(0, maxLayers)) {
    if (!isReadable(coding)) break;
    layer = await inflatedInPart(layer, coding, limitBytes, hold);
    layers.push(layer);
  }
  return layers;
}

function headerText(fields: Fields): Buffer {
  return Buffer.from([...fields].map(([name, value]) => `${name}: ${value}\n`).join(""), "latin1");
}

/** Without a prototype, since the service chooses the names. */
function recordOf(fields: Fields): Record<string, string> {
  return Object.assign(Object.create(null) as Record<string, string>, Object.fromEntries(fields));
}
