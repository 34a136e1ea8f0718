import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage, type RequestListener } from "node:http";
import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { startService, type TestService, type TestServiceOptions } from "../../support/service.ts";

export const apiKey = "the-key-of-the-upstream-0123456789";
export const slug = "custom:upstream";

/** A server whose answers are written as the test likes. */
export interface Upstream extends AsyncDisposable {
  readonly url: string;
  /** What it does with the next requests. */
  serve(listener: RequestListener): void;
  /** Requests whose head came. */
  readonly asked: IncomingMessage[];
  /** Resolves with the next request. */
  next(): Promise<IncomingMessage>;
  readonly sockets: ReadonlySet<Socket>;
}

async function startUpstream(): Promise<Upstream> {
  let listener: RequestListener = (_request, response) => void response.end();
  const asked: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    asked.push(request);
    server.emit("asked", request);
    request.on("error", () => {});
    listener(request, response);
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    serve: (next) => (listener = next),
    asked,
    sockets,
    async next() {
      const [request] = (await once(server, "asked")) as [IncomingMessage];
      return request;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

/** The service, connected to an upstream below `/base`. */
export async function startProxied(options: TestServiceOptions = {}) {
  const service = await startService(options);
  const upstream = await startUpstream();
  const { connection } = await service.org.client.connections.upsertServiceConnection({
    serviceSlug: slug,
    baseUrl: `${upstream.url}/base`,
    apiKey,
  });
  return {
    service,
    upstream,
    connectionId: connection?.id ?? "",
    async [Symbol.asyncDispose]() {
      await upstream[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
    },
  };
}

export function proxyPath(path: string, ref = slug): string {
  return `/api/connections/${ref}/proxy${path}`;
}

/** A request over HTTP/1.1 whose body is written by the test. */
export function open(
  { url, org }: Pick<TestService, "url" | "org">,
  path: string,
  { method = "GET", headers = {} }: { method?: string; headers?: Record<string, string> } = {},
) {
  const request = httpRequest(url + path, {
    method,
    agent: false,
    headers: { authorization: `Bearer ${org.secret}`, ...headers },
  });
  // How it ended is what the test waits for.
  request.on("error", () => {});
  const response = once(request, "response").then(([answer]) => {
    const incoming = answer as IncomingMessage;
    incoming.on("error", () => {});
    return incoming;
  });
  response.catch(() => {});
  return { request, response };
}

/** A request over HTTP/2 whose body is written by the test. */
export function open2(
  { url, org }: Pick<TestService, "url" | "org">,
  path: string,
  { method = "GET", headers = {} }: { method?: string; headers?: Record<string, string> } = {},
) {
  const session = http2.connect(url);
  session.on("error", () => {});
  const hasBody = method !== "GET" && method !== "HEAD";
  const stream = session.request(
    { ":path": path, ":method": method, authorization: `Bearer ${org.secret}`, ...headers },
    { endStream: !hasBody },
  );
  stream.on("error", () => {});
  const response = once(stream, "response").then(([head]) => head as http2.IncomingHttpHeaders);
  response.catch(() => {});
  return { session, stream, response };
}

/** All that comes, and whether it came to its end. */
export async function readAll(incoming: IncomingMessage): Promise<{ text: string; isWhole: boolean }> {
  let text = "";
  incoming.setEncoding("latin1").on("data", (piece: string) => (text += piece));
  await until(() => incoming.closed);
  return { text, isWhole: incoming.complete };
}

/** Waits until it is so: each look comes a turn of the event loop later. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((turn) => setTimeout(turn, 5));
}
