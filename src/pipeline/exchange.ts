import type { DescMethodUnary, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, type HandlerContext } from "@connectrpc/connect";
import { callKey } from "#src/platform/caller.ts";
import type { Holding } from "#src/platform/byte-budget.ts";
import { hostOf, onceClosed, targetOf, type Request, type Response } from "#src/platform/http.ts";
import { callLimitsOf, type CallLimits } from "./call-limits.ts";
import { DeadlineExceeded } from "./failures.ts";
import type { Admission } from "./gate.ts";
import { entranceOf, type Entrance } from "./policy.ts";

/**
 * A unary call on its way over HTTP: what the gate and the handler see of it, and when it ends. What costs something
 * is made when it is first looked at, which most calls never do.
 */
export class Exchange implements HandlerContext, Admission {
  readonly method: DescMethodUnary;
  readonly request: Request;
  readonly response: Response;
  readonly protocolName: string;
  readonly values: ContextValues;
  /** What the gate says in the answer's headers, such as what is left of a budget. */
  readonly head: Record<string, string> = {};
  readonly #endsAt: number;
  readonly #timer: NodeJS.Timeout;
  #requestHeader?: Headers;
  #responseHeader?: Headers;
  #responseTrailer?: Headers;
  #abort?: AbortController;
  #ended: { readonly reason: unknown } | undefined;
  #onEnd: ((reason: unknown) => void) | undefined;

  constructor(parts: {
    method: DescMethodUnary;
    request: Request;
    response: Response;
    protocolName: string;
    values: ContextValues;
    timeoutMs: number;
  }) {
    this.method = parts.method;
    this.request = parts.request;
    this.response = parts.response;
    this.protocolName = parts.protocolName;
    this.values = parts.values;
    this.#endsAt = performance.now() + parts.timeoutMs;
    this.#timer = setTimeout(() => this.#end(new DeadlineExceeded()), parts.timeoutMs);
    // A timer would give it a millisecond, in which much can be done.
    if (parts.timeoutMs <= 0) this.#end(new DeadlineExceeded());
    onceClosed(parts.response, () => {
      // Whichever way its caller gave it up: with a reset of any code, by hanging up, or in the middle of its body.
      // Most have had their answer by then, and an error costs as much as a look-up of a key.
      if (this.#ended === undefined) this.#end(new ConnectError("the caller went away", Code.Canceled));
    });
  }

  get entrance(): Entrance {
    return entranceOf(this.method);
  }

  get limits(): CallLimits {
    return callLimitsOf(this.method);
  }

  get service(): DescService {
    return this.method.parent;
  }

  get requestMethod(): string {
    return this.request.method ?? "";
  }

  /** Always one that can be parsed, whatever the caller says its host is. */
  get url(): string {
    const { path, query } = targetOf(this.request);
    const scheme = "encrypted" in this.request.socket ? "https" : "http";
    return `${scheme}://${hostOf(this.request) ?? "localhost"}${path}${query && `?${query}`}`;
  }

  get target(): string {
    return this.request.url ?? "";
  }

  get authorization(): string | undefined {
    return this.request.headers.authorization;
  }

  answerWith(name: string, value: string): void {
    this.head[name] = value;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= new Headers(
      Object.entries(this.request.headers)
        .filter(([name]) => !name.startsWith(":"))
        .flatMap(([name, value]) => [value ?? []].flat().map((one): [string, string] => [name, one])),
    );
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  /** The headers that gate and handler gave to the answer. */
  answerHeaders(): Record<string, string> {
    return this.#responseHeader === undefined
      ? { ...this.head }
      : { ...this.head, ...Object.fromEntries(this.#responseHeader) };
  }

  /** The trailers that the handler gave to the answer. */
  answerTrailers(): Record<string, string> {
    return this.#responseTrailer === undefined ? {} : Object.fromEntries(this.#responseTrailer);
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#ended !== undefined) this.#abort.abort(this.#ended.reason);
    }
    return this.#abort.signal;
  }

  readonly timeoutMs = (): number => this.#endsAt - performance.now();

  get holding(): Holding | undefined {
    return this.values.get(callKey)?.holding;
  }

  /** Does the work, unless the call ends before: by its deadline, or because its caller went away. */
  orEnd<T>(work: () => Promise<T>): Promise<T> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended.reason);
    return new Promise((resolve, reject) => {
      this.#onEnd = reject;
      work().then(resolve, reject);
    });
  }

  /** Ends it when its answer is known: what its handler may have left running learns that nobody waits any more. */
  close(): void {
    this.#end("the call has ended");
  }

  #end(reason: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { reason };
    clearTimeout(this.#timer);
    this.#onEnd?.(reason);
    this.#abort?.abort(reason);
  }
}
