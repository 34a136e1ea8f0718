import type { IncomingHttpHeaders } from "node:http";

/** What a browser asks for. */
export interface PageRequest {
  readonly method: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** The parameters of a form that was sent. */
  readonly form: URLSearchParams;
}

/** What a browser gets. */
export interface PageAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What a feature offers to browsers, without a key. */
export interface Page {
  readonly methods: readonly ("GET" | "POST")[];
  answer(request: PageRequest): Promise<PageAnswer>;
}
