/**
 * Whether an answer holds the credential that was sent: as it is, or in base64, hexadecimal,
 * percent-encoding or JSON escapes. A service that wants to can still hide it; this is for the many that
 * echo requests in error pages, redirects and debug output.
 */
export function reflects(answer: readonly Buffer[], token: string): boolean {
  // A token of a few bytes is in most answers by chance (a dummy key "none" would break every call), so
  // a short one is sought as the header value that carried it. That is how services echo it.
  const needles = formsOf(Buffer.from(token.length >= minTokenLength ? token : `Bearer ${token}`));
  return answer.some((text) => {
    const plain = unescaped(text);
    return needles.some((needle) => text.includes(needle) || plain?.includes(needle));
  });
}

const minTokenLength = 8;

function formsOf(secret: Buffer): Buffer[] {
  const base64 = [0, 1, 2].map((before) => base64Inside(secret, before));
  const urlSafe = base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"));
  const hex = secret.toString("hex");
  const texts = new Set([...base64, ...urlSafe, hex, hex.toUpperCase()]);
  return [secret, ...[...texts].map((text) => Buffer.from(text, "latin1"))];
}

/**
 * The part of the secret's base64 that stays the same whatever stands around it, if the number of bytes before
 * it leaves this remainder when divided by three.
 */
function base64Inside(secret: Buffer, before: number): string {
  const bits = (before + secret.length) * 8;
  const text = Buffer.concat([Buffer.alloc(before), secret]).toString("base64");
  return text.slice(Math.ceil((before * 8) / 6), Math.floor(bits / 6));
}

const percent = 0x25;
const backslash = 0x5c;

/** The text with percent-encoding and JSON escapes of ASCII undone; undefined if it has neither. */
function unescaped(text: Buffer): Buffer | undefined {
  if (!text.includes(percent) && !text.includes(backslash)) return undefined;
  const plain = Buffer.allocUnsafe(text.length);
  let length = 0;
  for (let i = 0; i < text.length;) {
    const byte = text[i]!;
    let value = -1;
    let width = 1;
    if (byte === percent) {
      value = hexByte(text, i + 1);
      width = 3;
    } else if (byte === backslash && text[i + 1] === 0x75 && text[i + 2] === 0x30 && text[i + 3] === 0x30) {
      value = hexByte(text, i + 4);
      width = 6;
    } else if (
      byte === backslash &&
      (text[i + 1] === 0x2f || text[i + 1] === 0x22 || text[i + 1] === backslash)
    ) {
      value = text[i + 1]!;
      width = 2;
    }
    plain[length++] = value === -1 ? byte : value;
    i += value === -1 ? 1 : width;
  }
  return plain.subarray(0, length);
}

function hexByte(text: Buffer, at: number): number {
  const high = hexDigit(text[at]);
  const low = hexDigit(text[at + 1]);
  return high === -1 || low === -1 ? -1 : high * 16 + low;
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}
