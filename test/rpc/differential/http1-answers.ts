/** One answer as it stood on the wire. */
export interface Http1Answer {
  readonly statusLine: string;
  readonly status: number;
  /** `name: value` with the name in lower case, sorted, doubled ones kept. Without those that frame the body. */
  readonly headers: readonly string[];
  /** How the end of the body is told: exactly one way is right. */
  readonly framing: string;
  readonly body: Buffer;
  /** `name: value` behind the last chunk, sorted. */
  readonly trailers: readonly string[];
  /** False if the connection ended in the middle. */
  readonly whole: boolean;
}

/** The answers in what a server sent; of the last one, possibly only a part. */
export function readAnswers(received: Buffer, ended: boolean, head = false): Http1Answer[] {
  const answers: Http1Answer[] = [];
  let rest = received;
  while (rest.length > 0) {
    const headEnd = rest.indexOf("\r\n\r\n");
    if (headEnd < 0) {
      if (ended) answers.push(brokenHead(rest));
      break;
    }
    const lines = rest.subarray(0, headEnd).toString("latin1").split("\r\n");
    const { answer, length } = readAnswer(lines, rest.subarray(headEnd + 4), ended, head);
    answers.push(answer);
    rest = rest.subarray(headEnd + 4 + length);
  }
  return answers;
}

function brokenHead(bytes: Buffer): Http1Answer {
  return {
    statusLine: "",
    status: 0,
    headers: [],
    framing: "cut in the head",
    body: bytes,
    trailers: [],
    whole: false,
  };
}

function readAnswer(
  [statusLine = "", ...lines]: string[],
  rest: Buffer,
  ended: boolean,
  head: boolean,
): { answer: Http1Answer; length: number } {
  const headers = lines.map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase()));
  const status = Number(statusLine.split(" ")[1]);
  const valuesOf = (name: string) =>
    headers.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
  const lengths = valuesOf("content-length");
  const codings = valuesOf("transfer-encoding");
  const hasBody = !head && status >= 200 && status !== 204 && status !== 304;
  const read = hasBody
    ? readBody(rest, lengths, codings, ended)
    : { body: rest.subarray(0, 0), trailers: [], length: 0, whole: true };
  const answer = {
    statusLine,
    status,
    headers: headers.filter((line) => !/^(?:content-length|transfer-encoding): /.test(line)).toSorted(),
    framing: framingOf(hasBody, lengths, codings),
    body: read.body,
    trailers: read.trailers,
    whole: read.whole,
  };
  return { answer, length: read.length };
}

function framingOf(hasBody: boolean, lengths: string[], codings: string[]): string {
  const given = [...lengths.map((value) => `content-length ${value}`), ...codings];
  if (!hasBody)
    return given.some((one) => one !== "content-length 0" && one !== "chunked") ? given.join() : "none";
  if (given.length === 1 && (codings[0] === "chunked" || /^\d+$/.test(lengths[0] ?? ""))) return "one";
  return given.length === 0 ? "the end of the connection" : given.join();
}

function readBody(
  rest: Buffer,
  lengths: string[],
  codings: string[],
  ended: boolean,
): Pick<Http1Answer, "body" | "trailers" | "whole"> & { length: number } {
  if (codings.length > 0) return readChunks(rest);
  if (lengths.length === 0) return { body: rest, trailers: [], length: rest.length, whole: ended };
  const length = Math.min(Number(lengths[0]), rest.length);
  return { body: rest.subarray(0, length), trailers: [], length, whole: length === Number(lengths[0]) };
}

function readChunks(rest: Buffer) {
  const chunks: Buffer[] = [];
  const cut = () => ({ body: Buffer.concat(chunks), trailers: [], length: rest.length, whole: false });
  for (let at = 0; ;) {
    const lineEnd = rest.indexOf("\r\n", at);
    const size = lineEnd < 0 ? NaN : parseInt(rest.subarray(at, lineEnd).toString(), 16);
    if (size === 0) {
      const end = rest.indexOf("\r\n\r\n", lineEnd);
      if (end < 0) return cut();
      const lines = rest
        .subarray(lineEnd + 2, end)
        .toString("latin1")
        .split("\r\n");
      const trailers = lines.filter((line) => line !== "").toSorted();
      return { body: Buffer.concat(chunks), trailers, length: end + 4, whole: true };
    }
    const next = lineEnd + 2 + size + 2;
    if (Number.isNaN(size) || next > rest.length) return cut();
    chunks.push(rest.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = next;
  }
}
