import type { IncomingHttpHeaders } from "node:http";
import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { CredentialReflected, UpstreamTooLarge, UpstreamUnreachable } from "./errors.ts";
import { tooManyHeaders, upstreamFailure } from "./failures.ts";
import { replyHeaders, type Fields } from "./headers.ts";
import type { Needles } from "./needles.ts";
import { sizeOf } from "./receive.ts";
import { InflatedWatch, outermostCoding, SecretWatch } from "./secret-watch.ts";

/** A service's answer, of which the rest is still to come. */
export interface StreamReply {
  readonly status: number;
  /** Without those that concern only us. */
  readonly headers: Fields;
  /** As it comes, in the coding that the headers name. Ends with an error unless the whole answer came. */
  readonly body: Readable;
  /** Known when the body has ended. */
  readonly trailers: () => Fields;
}

/** What is taken of an answer, and what is told on the way. */
interface Rules {
  readonly host: string;
  readonly headerBytes: number;
  /** What must not be in the answer. */
  readonly needles: Needles | undefined;
  /** The request has its socket, and nothing was written yet. What it throws ends the call. */
  started(): void;
  /** Something was sent or came. */
  progress(): void;
  /** undici holds nothing of the call any more. */
  over(): void;
}

/**
 * The answer's beginning waits here until this much of it was looked at, or all that came with it: of a short answer
 * that repeats the credential, nothing is passed on.
 */
const heldBytes = 16 * 1024;
const bufferedBytes = 64 * 1024;

// One for all, since every body ends with it, and an error costs as much as a look-up of a key.
const unwanted = new Error("the rest of the answer is not wanted");

/** Takes an answer from undici and lets it out as it is read. */
export class StreamedAnswer implements Dispatcher.DispatchHandler {
  readonly reply: Promise<StreamReply>;
  readonly #rules: Rules;
  readonly #body: Readable;
  readonly #begin = Promise.withResolvers<StreamReply>();
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #headers: Fields = new Map();
  #trailers: Fields = new Map();
  #watch: SecretWatch | undefined;
  #inflated: InflatedWatch | undefined;
  /** The looks into compressed pieces, one after the other. */
  #looks = Promise.resolve();
  #looking = 0;
  #isOut = false;
  #received = 0;
  /** What may be the beginning of a secret. */
  #kept = Buffer.of();

  constructor(rules: Rules) {
    this.#rules = rules;
    this.reply = this.#begin.promise;
    // It may fail before anything waits for it.
    this.reply.catch(() => {});
    this.#body = new Readable({
      highWaterMark: bufferedBytes,
      read: () => this.#resume(),
      destroy: (error, done) => {
        this.#inflated?.[Symbol.dispose]();
        this.#controller?.abort(error ?? unwanted);
        done(error);
      },
    });
    // Whatever reads it listens by itself; before that, the reply fails with the same error.
    this.#body.on("error", () => {});
  }

  /** Ends the call: before its answer has begun, the reply fails with the reason, and afterwards its body. */
  end(reason: Error): void {
    this.#begin.reject(reason);
    this.#body.destroy(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#body.destroyed) return controller.abort(this.#body.errored ?? unwanted);
    this.#rules.started();
  }

  onBodySent(): void {
    this.#rules.progress();
  }

  onResponseStart(_: unknown, status: number, headers: IncomingHttpHeaders): void {
    // Nothing that is passed on, and no progress: a service can send them for ever.
    if (status < 200) return;
    const { host, headerBytes, needles } = this.#rules;
    this.#rules.progress();
    this.#status = status;
    if (status > 599) return this.end(unknownStatus(host, status));
    if (sizeOf(headers) > headerBytes) return this.end(new UpstreamTooLarge(host, tooManyHeaders, status));
    this.#headers = replyHeaders(headers);
    if (needles !== undefined) {
      this.#watch = new SecretWatch(needles);
      const coding = outermostCoding(this.#headers.get("content-encoding") ?? "");
      if (coding !== undefined) this.#inflated = new InflatedWatch(coding, needles);
      if (this.#refusesFields(this.#headers)) return;
    }
    const isShort = Number(headers["content-length"] ?? Infinity) <= heldBytes;
    if (!isShort) setImmediate(() => this.#look(() => this.#letOut()));
  }

  onResponseData(controller: Dispatcher.DispatchController, piece: Buffer): void {
    this.#rules.progress();
    this.#received += piece.length;
    if (this.#watch?.finds(piece) === true) return this.#reflected();
    const inflated = this.#inflated;
    if (inflated === undefined) return this.#pass(piece);
    controller.pause();
    this.#look(async () => {
      const seen = await inflated.look(piece);
      if (seen === "found") this.#reflected();
      else if (seen === "bomb") this.end(new UpstreamTooLarge(this.#rules.host, bomb, this.#status));
      else this.#pass(piece);
    });
  }

  onResponseEnd(_: unknown, trailers: IncomingHttpHeaders): void {
    this.#rules.over();
    this.#look(() => {
      this.#trailers = replyHeaders(trailers);
      if (this.#refusesFields(this.#trailers)) return;
      this.#body.push(this.#kept);
      this.#body.push(null);
      this.#inflated?.[Symbol.dispose]();
      this.#letOut();
    });
  }

  onResponseError(_: unknown, error: Error): void {
    this.#rules.over();
    const failure = upstreamFailure(error, this.#rules.host, this.#status || undefined);
    this.#look(() => this.end(failure as Error));
  }

  /** Does this after the looks that are under way. */
  #look(work: () => Promise<void> | void): void {
    if (this.#looking === 0 && this.#inflated === undefined) return void work();
    this.#looking++;
    this.#looks = this.#looks.then(work).then(
      () => {
        this.#looking--;
        if (this.#body.readableLength < bufferedBytes) this.#resume();
      },
      (error: Error) => this.end(error),
    );
  }

  #resume(): void {
    if (this.#looking === 0) this.#controller?.resume();
  }

  #pass(piece: Buffer): void {
    let text = this.#kept.length === 0 ? piece : Buffer.concat([this.#kept, piece]);
    const unfinished = Math.min(this.#watch?.unfinished() ?? 0, text.length);
    this.#kept = unfinished === 0 ? none : Buffer.from(text.subarray(-unfinished));
    if (unfinished > 0) text = text.subarray(0, -unfinished);
    if (text.length > 0 && !this.#body.push(text)) this.#controller?.pause();
    if (this.#received > heldBytes) this.#letOut();
  }

  #letOut(): void {
    if (this.#isOut || this.#body.destroyed) return;
    this.#isOut = true;
    this.#begin.resolve({
      status: this.#status,
      headers: this.#headers,
      body: this.#body,
      trailers: () => this.#trailers,
    });
  }

  #refusesFields(fields: Fields): boolean {
    const { needles } = this.#rules;
    if (needles === undefined || fields.size === 0) return false;
    const text = [...fields].map(([name, value]) => `${name}: ${value}\n`).join("");
    if (!new SecretWatch(needles).finds(Buffer.from(text, "latin1"))) return false;
    this.#reflected();
    return true;
  }

  #reflected(): void {
    this.end(new CredentialReflected(this.#rules.host, this.#status));
  }
}

/** RFC 9110, 15: there is none beyond 599, and HTTP/2 cannot pass it on. */
function unknownStatus(host: string, status: number): UpstreamUnreachable {
  const problem = "answered with a status that HTTP does not have; look into its log";
  return new UpstreamUnreachable(host, problem, { stage: "HTTP", status });
}

const none = Buffer.of();
const bomb = "answered with a body that inflates to hundreds of times its length, and is not read further";
