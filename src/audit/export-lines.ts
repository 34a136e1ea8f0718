import { NotAnExport } from "./errors.ts";

/** More than any event takes. A file without line feeds must not fill the memory. */
const maxLineBytes = 64 * 1024 * 1024;

/**
 * The lines of an exported file. They end with a line feed only: names and details may hold the other characters that
 * readline takes for the end of a line.
 */
export async function* exportLines(file: AsyncIterable<Buffer>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let number = 1;
  let pieces: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of file) {
    let begin = 0;
    for (let end = chunk.indexOf("\n"); end !== -1; end = chunk.indexOf("\n", begin)) {
      yield decoded([...pieces, chunk.subarray(begin, end)]);
      [begin, pieces, bytes, number] = [end + 1, [], 0, number + 1];
    }
    if (begin === chunk.length) continue;
    pieces.push(chunk.subarray(begin));
    bytes += chunk.length - begin;
    if (bytes > maxLineBytes) throw new NotAnExport(number, "it is longer than any line of an export");
  }
  if (bytes > 0) yield decoded(pieces);

  function decoded(line: readonly Buffer[]): string {
    try {
      return decoder.decode(line.length === 1 ? line[0] : Buffer.concat(line)).replace(/\r$/, "");
    } catch {
      throw new NotAnExport(number, "it is no UTF-8");
    }
  }
}
