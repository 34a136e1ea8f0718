/** What came, as it came. */
export interface SignedRequest {
  readonly method: string;
  /** The public address that the sender was given, with its query: never made of the Host header. */
  readonly url: string;
  /** Each line of the head: names in any case, values as node:http gives them. */
  readonly headers: HeaderLines;
  readonly body: Buffer;
}

/** The lines of a head: one header may stand in several. */
export type HeaderLines = readonly (readonly [name: string, value: string])[];

/** The values of a header, one for each line. */
export function valuesOf(headers: HeaderLines, wanted: string): string[] {
  return headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);
}

/** The value of a header that stands in one line at most. */
export function headerOf(headers: HeaderLines, name: string): string | undefined {
  return valuesOf(headers, name)[0];
}

/** The bytes of a header's value, which node:http reads as Latin-1 whatever they are. */
export function bytesOfHeader(value: string): Buffer {
  return Buffer.from(value, "latin1");
}
