import { createHmac, type KeyObject, sign } from "node:crypto";
import { presets } from "#src/channels/presets.ts";
import type { HeaderLines, SignedRequest } from "#src/channels/signatures/request.ts";
import type { Scheme, SignatureScheme } from "#src/channels/signatures/scheme.ts";

/** How the preset's sender proves itself, if it signs. */
export function signatureSchemeOf(preset: string): SignatureScheme {
  const scheme = schemeOf(preset);
  if (scheme.kind !== "signature") throw new Error(`${preset} signs nothing`);
  return scheme;
}

/** How the preset's sender proves itself. */
export function schemeOf(name: string): Scheme {
  const preset = presets.get(name);
  if (preset === undefined) throw new Error(`no preset ${name}`);
  return preset.scheme;
}

export interface Sent {
  readonly method?: string;
  readonly url?: string;
  readonly body: Buffer;
  /** The key itself, not as text. */
  readonly key: Buffer | KeyObject;
  readonly id?: string;
  readonly at: Date;
  readonly headers?: HeaderLines;
}

/** A request as a sender by the scheme makes it: written from the vendors' documents, and not from our verifier. */
export function signedBy(scheme: SignatureScheme, sent: Sent): SignedRequest {
  const {
    method = "POST",
    url = "https://hooks.example.com/in/chn_1",
    body,
    key,
    id = "msg_1",
    at,
    headers = [],
  } = sent;
  const time = String(Math.floor(at.getTime() / (scheme.time?.unit === "ms" ? 1 : 1000)));
  const values: Record<string, string> = {
    id,
    time,
    method,
    url,
    plainUrl: url,
    urlWithoutPort: url,
    form: "",
  };
  const text = Buffer.concat(
    (scheme.signed[0] ?? "").split(/[{}]/).map((part, index) => {
      if (index % 2 === 0) return Buffer.from(part);
      return part === "body" ? body : Buffer.from(values[part] ?? "", "latin1");
    }),
  );
  const proof = scheme.proofs.find(({ algorithm }) => (algorithm === "ed25519") === !Buffer.isBuffer(key));
  if (proof === undefined) throw new Error("no proof with such a key");
  const digest = Buffer.isBuffer(key)
    ? createHmac(proof.algorithm.replace("hmac-", ""), key).update(text).digest()
    : sign(null, text, key);
  const signature = `${proof.prefix ?? ""}${digest.toString(scheme.encoding)}`;
  const timeElement = `${scheme.time?.prefix ?? ""}${time}`;
  const lines: HeaderLines =
    scheme.time?.header === scheme.header
      ? [[scheme.header, `${timeElement}${scheme.separator ?? ","}${signature}`]]
      : [[scheme.header, signature], ...(scheme.time ? [[scheme.time.header, timeElement] as const] : [])];
  const idLine = scheme.idHeader === undefined ? [] : [[scheme.idHeader, id] as const];
  return { method, url, headers: [...headers, ...lines, ...idLine], body };
}
