import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { upstreamAnswers } from "../upstream-answers.ts";
import { tellParent } from "./measured.ts";

/** The service that is called: whatever it is asked, it has the answer ready. */
const server = createServer((request, response) => {
  const { type, body } = upstreamAnswers[request.url ?? ""] ?? { type: "text/plain", body: Buffer.of() };
  request.resume().once("end", () => {
    response.writeHead(200, { "content-type": type, "content-length": body.length }).end(body);
  });
});
server.listen(0, "127.0.0.1", () => tellParent((server.address() as AddressInfo).port));
