import { isUtf8 } from "node:buffer";
import type { Transform } from "node:stream";
import { codingsOf, inflaterOf, isReadable } from "./body.ts";
import { EscapeReader } from "./escapes.ts";
import type { Needles } from "./needles.ts";

/** An escape of JSON has this many bytes for one. */
const longestEscape = 6;
/** Escapes are undone in blocks of this length, which is small enough for Node's pool of buffers. */
const blockLength = 8 * 1024;
/** The beginning of a secret that is at the end of a piece waits for the next one, if it is at least this long. */
const shortestBeginning = 8;

/** Looks for secrets in a text that comes in pieces, also where one ends in the next. Keeps some hundred bytes of it. */
export class SecretWatch {
  readonly #needles: Needles;
  readonly #reach: number;
  #before = Buffer.of();

  constructor(needles: Needles) {
    this.#needles = needles;
    this.#reach = longestEscape * needles.longest;
  }

  /** Whether this piece completes a secret, or holds one. */
  finds(piece: Buffer): boolean {
    const reach = this.#reach;
    const border = Buffer.concat([this.#before, piece.subarray(0, reach)]);
    if (this.#isIn(border) || (piece.length > reach && this.#isIn(piece))) return true;
    // A copy, as it would hold on to the whole piece.
    this.#before = Buffer.from((piece.length > reach ? piece : border).subarray(-reach));
    return false;
  }

  /** How many bytes at the end of what came are the beginning of a secret, which the next piece may complete. */
  unfinished(): number {
    return this.#needles.beginningAtEnd(this.#before, shortestBeginning);
  }

  #isIn(text: Buffer): boolean {
    const needles = this.#needles;
    if (needles.areIn(text, 0, text.length)) return true;
    for (let from = 0; from < text.length; from += blockLength) {
      const block = text.subarray(from, from + blockLength + this.#reach);
      if (isBinary(block)) continue;
      const plain = new EscapeReader(block, needles.longest, block.length).readUntil(block.length);
      if (needles.areIn(plain, 0, plain.length)) return true;
    }
    return false;
  }
}

/** Whether the bytes are no text, in which escapes are chance: they would cost more than all else that is looked for. */
function isBinary(block: Buffer): boolean {
  return block.includes(0) && !isUtf8(block);
}

/** What came of a look into a compressed piece. */
export type Look = "clear" | "found" | "bomb";

/** Bodies of which this much comes out, and this many times what went in, are made to be large, and for nothing else. */
const bombBytes = 16 * 1024 * 1024;
const bombRatio = 250;

/** Looks into a compressed text that comes in pieces, and keeps nothing of what comes out. */
export class InflatedWatch implements Disposable {
  readonly #coding: string;
  readonly #watch: SecretWatch;
  #inflater: Transform | undefined;
  #seen: Look = "clear";
  #taken = 0;
  #given = 0;

  constructor(coding: string, needles: Needles) {
    this.#coding = coding;
    this.#watch = new SecretWatch(needles);
  }

  async look(piece: Buffer): Promise<Look> {
    if (piece.length === 0 || this.#seen !== "clear") return this.#seen;
    const inflater = (this.#inflater ??= this.#open(piece));
    // Behind damage there is nothing to read. The bytes as they are have been looked at.
    if (inflater.destroyed) return "clear";
    this.#taken += piece.length;
    await written(inflater, piece);
    return this.#seen;
  }

  [Symbol.dispose](): void {
    this.#inflater?.destroy();
  }

  #open(first: Buffer): Transform {
    const inflater = inflaterOf(first, this.#coding, "lenient");
    inflater.on("error", () => {});
    inflater.on("data", (text: Buffer) => {
      this.#given += text.length;
      if (this.#watch.finds(text)) this.#seen = "found";
      else if (this.#given > bombBytes + bombRatio * this.#taken) this.#seen = "bomb";
      if (this.#seen !== "clear") inflater.destroy();
    });
    return inflater;
  }
}

/** The coding to look into: the outermost one, if it can be read. */
export function outermostCoding(contentEncoding: string): string | undefined {
  const coding = codingsOf(contentEncoding).at(-1);
  return coding !== undefined && isReadable(coding) ? coding : undefined;
}

/** Resolves when all that comes out of the piece was looked at, or the inflater has ended. */
function written(inflater: Transform, piece: Buffer): Promise<void> {
  return new Promise((resolve) => {
    inflater.once("close", resolve);
    inflater.write(piece, function settle() {
      // What was pushed may be handed over a little later.
      if (inflater.readableLength > 0) return void setImmediate(settle);
      inflater.off("close", resolve);
      resolve();
    });
  });
}
