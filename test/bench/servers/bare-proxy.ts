import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream";
import { Pool } from "undici";
import { tellParent } from "./measured.ts";

const [upstreamPort = ""] = process.argv.slice(2);
const upstream = new Pool(`http://127.0.0.1:${upstreamPort}`);

/** Hands requests and answers on, and looks at nothing. */
const server = createServer((request, response) => {
  const { method = "GET", url = "/" } = request;
  const hasBody = request.headers["content-length"] !== undefined;
  upstream.request({ method, path: url, body: hasBody ? request : null }).then(
    ({ statusCode, headers, body }) => {
      response.writeHead(statusCode, headers);
      pipeline(body, response, () => {});
    },
    (error: unknown) => response.destroy(error instanceof Error ? error : undefined),
  );
});
server.listen(0, "127.0.0.1", () => tellParent((server.address() as AddressInfo).port));
