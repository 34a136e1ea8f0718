import type { Worker } from "node:worker_threads";
import { startWorker } from "#src/platform/worker.ts";
import { ImportRefused } from "../import/errors.ts";
import type { FromReader, ToReader } from "./reader-messages.ts";
import type { ReadDocument, RowsPiece } from "../import/reading.ts";

const memoryMb = 512;
/** How long the thread may be busy with a document, and how long it is kept for the one that asks for its rows. */
const patienceMs = 60_000;

/** Reads a document in a thread of its own. */
export const readDocument: ReadDocument = async ({ previous, wantsRows, signal, ...document }) => {
  signal.throwIfAborted();
  const reader = startReader(signal);
  try {
    for await (const piece of previous) reader.send({ kind: "previous", piece }, piece.json);
    const bytes = ownMemory(document.bytes);
    const answer = await reader.ask({ kind: "read", document: { ...document, bytes } }, bytes);
    if (answer.kind === "refused") throw new ImportRefused(answer.message);
    if (answer.kind !== "summary") throw new Error(`the reader answered ${answer.kind}`);
    if (!wantsRows) reader.end();
    return { summary: answer.summary, rows: wantsRows ? rowsFrom(reader) : nothing() };
  } catch (error) {
    reader.end();
    throw error;
  }
};

async function* rowsFrom(reader: Reader): AsyncGenerator<RowsPiece> {
  try {
    for (;;) {
      const answer = await reader.ask({ kind: "next" });
      if (answer.kind !== "piece") return;
      yield answer.piece;
    }
  } finally {
    reader.end();
  }
}

async function* nothing(): AsyncGenerator<RowsPiece> {}

/** A thread that reads one document. */
interface Reader {
  send(message: ToReader, transferred?: Uint8Array<ArrayBuffer>): void;
  /** Its answer. Throws if it fails, takes too long, or is ended. */
  ask(message: ToReader, transferred?: Uint8Array<ArrayBuffer>): Promise<FromReader>;
  end(): void;
}

function startReader(signal: AbortSignal): Reader {
  const thread = startWorker("operations/reader/read", { memoryMb });
  const { promise: failure, reject: fail } = Promise.withResolvers<never>();
  failure.catch(() => {}); // Whoever asks is told; if nobody asks, nobody is to know.
  const aborted = () => end(signal.reason);
  // Also ends the thread of rows that nobody asks for.
  const timer = setTimeout(() => end(tooLong()), patienceMs).unref();
  thread.once("error", (error) => end(refusalFor(error)));
  signal.addEventListener("abort", aborted, { once: true });

  function end(reason: unknown): void {
    clearTimeout(timer);
    signal.removeEventListener("abort", aborted);
    fail(reason);
    void thread.terminate();
  }

  function send(message: ToReader, transferred?: Uint8Array<ArrayBuffer>): void {
    thread.postMessage(message, transferred === undefined ? [] : [transferred.buffer]);
  }

  return {
    send,
    ask(message, transferred) {
      timer.refresh();
      const answer = answerOf(thread);
      send(message, transferred);
      return Promise.race([answer, failure]);
    },
    end: () => end(new Error("the reader was ended")),
  };
}

function answerOf(thread: Worker): Promise<FromReader> {
  return new Promise((resolve) => {
    thread.once("message", (message: FromReader) => resolve(message));
  });
}

function tooLong(): ImportRefused {
  return new ImportRefused(`the document takes longer than ${patienceMs / 1000} s to read; split it, or leave out what repeats`); // prettier-ignore
}

/** What a document needs is its own fault, and none of the service. */
function refusalFor(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== "ERR_WORKER_OUT_OF_MEMORY") return error;
  return new ImportRefused(`the document takes more than ${memoryMb} MiB of memory to read; split it, or leave out what repeats`); // prettier-ignore
}

/** Small ones share their memory with others, and would take it along. */
function ownMemory(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}
