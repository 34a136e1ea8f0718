import { readBody } from "./body.ts";

/** A request of node:http or Express. */
export interface NodeRequest extends AsyncIterable<unknown> {
  readonly method?: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** What a body parser of Express left. */
  readonly body?: unknown;
}

/** A response of node:http or Express. */
export interface NodeResponse {
  writeHead(status: number, headers: Record<string, string>): unknown;
  end(body?: string): unknown;
}

/** A parser of bodies came first: what was signed is gone. */
class BodyWasParsed extends Error {
  override readonly name = "BodyWasParsed";

  constructor() {
    super(
      "the body was parsed, and what was signed are its bytes; put this handler before express.json(), or express.raw({ type: () => true }) before it",
    );
  }
}

/** The headers of a request, as `fetch` has them. */
export function headersOf({ headers }: NodeRequest): Headers {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    // Those of HTTP/2 that are no headers.
    if (value === undefined || name.startsWith(":")) continue;
    for (const one of Array.isArray(value) ? value : [value]) all.append(name, one);
  }
  return all;
}

/** The bytes of its body. */
export async function bodyOf(request: NodeRequest, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const { body } = request;
  if (body === undefined) return readBody(bytesIn(request), maxBytes);
  if (body instanceof Uint8Array) return new Uint8Array(body);
  throw new BodyWasParsed();
}

async function* bytesIn(request: NodeRequest): AsyncGenerator<Uint8Array, void> {
  for await (const piece of request) {
    if (!(piece instanceof Uint8Array)) throw new BodyWasParsed();
    yield piece;
  }
}
