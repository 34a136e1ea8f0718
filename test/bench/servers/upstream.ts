import { randomBytes } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { upstreamAnswers } from "../upstream-answers.ts";
import { tellParent } from "./measured.ts";

/** The service that is called: whatever it is asked, it has the answer ready. */
const server = createServer((request, response) => {
  const [, mebibytes] = /^\/stream\/(\d+)$/.exec(request.url ?? "") ?? [];
  if (mebibytes !== undefined) return streamOf(Number(mebibytes), response);
  const { type, body } = upstreamAnswers[request.url ?? ""] ?? { type: "text/plain", body: Buffer.of() };
  request.resume().once("end", () => {
    response.writeHead(200, { "content-type": type, "content-length": body.length }).end(body);
  });
});

const piece = randomBytes(64 * 1024);

/** Answers this many mebibytes, as fast as they are taken. */
function streamOf(mebibytes: number, response: ServerResponse): void {
  let pieces = mebibytes * 16;
  response.writeHead(200, { "content-length": pieces * piece.length });
  const more = (): void => {
    while (pieces > 0) {
      pieces--;
      if (!response.write(piece)) return;
    }
    response.end();
  };
  response.on("drain", more);
  more();
}

server.listen(0, "127.0.0.1", () => tellParent((server.address() as AddressInfo).port));
