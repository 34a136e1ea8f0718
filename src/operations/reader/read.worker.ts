import { parentPort } from "node:worker_threads";
import { ImportRefused } from "../import/errors.ts";
import type { DocumentToRead, FromReader, ToReader } from "./reader-messages.ts";
import { readAndCompare } from "./read-and-compare.ts";
import type { RowsPiece } from "../import/reading.ts";

const previous: RowsPiece[] = [];
let rows: Iterator<RowsPiece> = [].values();

parentPort?.on("message", (message: ToReader) => {
  if (message.kind === "previous") previous.push(message.piece);
  if (message.kind === "read") answer(read(message.document));
  if (message.kind === "next") answer(next());
});

function read(document: DocumentToRead): FromReader {
  try {
    const result = readAndCompare(document, previous.splice(0));
    rows = result.rows;
    return { kind: "summary", summary: result.summary };
  } catch (error) {
    if (error instanceof ImportRefused) return { kind: "refused", message: error.message };
    // Of the stack of calls: only what is nested or chained without measure needs that much of it.
    if (error instanceof RangeError)
      return { kind: "refused", message: "the document is nested too deeply to be read" };
    throw error;
  }
}

function next(): FromReader {
  const { value, done } = rows.next();
  return done === true ? { kind: "end" } : { kind: "piece", piece: value };
}

function answer(message: FromReader): void {
  parentPort?.postMessage(message, message.kind === "piece" ? [message.piece.json.buffer] : []);
}
