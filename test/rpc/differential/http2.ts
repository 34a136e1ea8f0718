import http2 from "node:http2";

/** What a client does on its stream after the headers: send bytes, end, reset, or wait for something. */
export type Http2Step = Buffer | "end" | ((stream: http2.ClientHttp2Stream) => unknown);

/** All that a client sees of one stream. */
export interface Http2Observation {
  /** What came, in its order: headers, `data`, trailers, and how the stream ended. */
  readonly events: readonly (string | readonly string[])[];
  readonly body: Buffer;
  /** Whether the connection serves the next stream. */
  readonly session: string;
}

const endStream = 0x1;

/** Lets this client send what no client should, such as two Authorization headers. */
const lenient = { strictSingleValueFields: false, settings: {} };

/** Longer than anything that ends by itself. */
const patienceMs = 20_000;

/**
 * Makes one request on a connection of its own. With `untilAnswered`, the observation ends with the answer: a server
 * resets a stream that a client goes on sending on a second later.
 */
export async function observeHttp2(
  port: number,
  headers: http2.OutgoingHttpHeaders,
  steps: readonly Http2Step[],
  { untilAnswered = false } = {},
): Promise<Http2Observation> {
  const session = http2.connect(`http://127.0.0.1:${port}`, lenient);
  session.on("error", () => {});
  const events: (string | readonly string[])[] = [];
  const chunks: Buffer[] = [];
  const onlyEnd = steps.length === 1 && steps[0] === "end";
  const stream = session.request(headers, { endStream: onlyEnd });
  const over = Promise.withResolvers<void>();
  const patience = setTimeout(() => {
    events.push("nothing more came");
    over.resolve();
  }, patienceMs);
  session.on("goaway", (code) => events.push(`goaway ${code}`));
  stream.on("headers", (_headers, _flags, raw?: string[]) => events.push(linesOf("informational", raw)));
  stream.on("response", (_headers, flags: number, raw?: string[]) => {
    events.push(linesOf(flags & endStream ? "headers that end the stream" : "headers", raw));
  });
  stream.on("trailers", (_headers, _flags, raw?: string[]) => events.push(linesOf("trailers", raw)));
  stream.on("data", (chunk: Buffer) => {
    if (events.at(-1) !== "data") events.push("data");
    chunks.push(chunk);
  });
  stream.on("end", () => untilAnswered && over.resolve());
  stream.on("error", () => {});
  stream.on("close", () => {
    events.push(`closed ${stream.rstCode}`);
    over.resolve();
  });
  if (!onlyEnd) await play(stream, steps);
  await over.promise;
  clearTimeout(patience);
  const state = await reuse(session);
  session.destroy();
  return { events, body: Buffer.concat(chunks), session: state };
}

async function play(stream: http2.ClientHttp2Stream, steps: readonly Http2Step[]): Promise<void> {
  for (const step of steps) {
    if (stream.destroyed) return;
    if (step === "end") stream.end();
    else if (typeof step === "function") await step(stream);
    else stream.write(step);
  }
}

function linesOf(kind: string, raw: readonly string[] = []): readonly string[] {
  const lines = raw.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${raw[i + 1]}`] : []));
  return [kind, ...lines.toSorted()];
}

function reuse(session: http2.ClientHttp2Session): Promise<string> {
  if (session.closed || session.destroyed) return Promise.resolve("closed");
  return new Promise((resolve) => {
    const next = session.request({ ":path": "/healthz", "x-request-id": "probe" }, { endStream: true });
    next.on("response", ({ ":status": status }) => resolve(`used again: ${status}`));
    next.on("error", () => resolve("closed"));
    next.resume();
  });
}
