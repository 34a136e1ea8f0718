import { isAscii } from "node:buffer";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MIMEType, TextDecoder } from "node:util";

/** What a service says of its answer's body. */
export interface MediaType {
  /** Such as `text/html`, in lower case. */
  readonly essence: string;
  readonly charset: string | undefined;
}

/** Reads a Content-Type; undefined for one that cannot be read, and for several that do not agree. */
export function readMediaType(text: string): MediaType | undefined {
  const [type = "", ...others] = new Set(text.split(",").map((one) => one.trim()));
  if (others.length > 0) return undefined;
  try {
    const { essence, params } = new MIMEType(type);
    return { essence, charset: params.get("charset") ?? undefined };
  } catch {
    return undefined;
  }
}

/** An XML document without a charset in its Content-Type may say it itself (RFC 7303, 3). */
export function xmlEncoding(bytes: Buffer): string | undefined {
  const start = bytes.toString("latin1", 0, 200);
  const label = /^(?:\xef\xbb\xbf)?<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)["']/.exec(start)?.[1];
  // Some programs declare the UTF-16 of their strings in memory, but a text in UTF-16 would not have matched here.
  return label?.toLowerCase().startsWith("utf-16") === true ? undefined : label;
}

/** Large bodies are decoded in pieces of this size: some charsets take 15 ms for one. */
const pieceBytes = 1024 * 1024;

/**
 * The text that the bytes are in this charset; undefined if they are not valid in it, or it is unknown. Labels mean
 * what they mean to browsers (`iso-8859-1` is windows-1252), except that ASCII has no more than 128 characters.
 */
export async function decodeText(bytes: Buffer, charset: string): Promise<string | undefined> {
  if (asciiLabels.has(charset.toLowerCase()) && !isAscii(bytes)) return undefined;
  try {
    const decoder = decoderOf(bytes, charset);
    let text = "";
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      if (at > 0) await nextTurn();
      text += decoder.decode(bytes.subarray(at, at + pieceBytes), { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}

const asciiLabels = new Set(["us-ascii", "ascii", "ansi_x3.4-1968"]);

/** Throws a RangeError for an unknown charset; the decoder throws a TypeError for bytes that are not valid in it. */
function decoderOf(bytes: Buffer, charset: string): TextDecoder {
  const decoder = new TextDecoder(charset, strict);
  if (!decoder.encoding.startsWith("utf-16")) return decoder;
  // "utf-16" leaves the order of bytes to the mark at their start (RFC 2781, 3.2), which the decoder does not look at.
  const mark = bytes.toString("hex", 0, 2);
  return mark === "feff" || mark === "fffe"
    ? new TextDecoder(mark === "feff" ? "utf-16be" : "utf-16le", strict)
    : decoder;
}

/** A byte order mark stays as the first character: the service sent it. */
const strict = { fatal: true, ignoreBOM: true };
