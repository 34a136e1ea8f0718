import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

/** What a sibling's server was asked. */
export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What it answers: a status, a body, headers. */
export interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Buffer;
}

/** A sibling's server, played on this machine. */
export interface Upstream extends AsyncDisposable {
  readonly url: string;
  /** Every request so far. */
  readonly asked: readonly Asked[];
  /** Answers from now on. */
  answer(next: Answer | ((asked: Asked) => Answer | Promise<Answer>)): void;
}

/** Starts a server that answers 200 `{}` until it is told otherwise. */
export async function startUpstream(): Promise<Upstream> {
  const asked: Asked[] = [];
  let answerTo: (one: Asked) => Answer | Promise<Answer> = () => ({});
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    const answer = async () => {
      const one: Asked = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      asked.push(one);
      const json = { "content-type": "application/json" };
      const { status = 200, headers = json, body = "{}" } = await answerTo(one);
      response.writeHead(status, headers).end(body);
    };
    request.on("end", () => void answer());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answer(next) {
      answerTo = typeof next === "function" ? next : () => next;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
