import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { verifyKeyJson, whoAmIJson } from "../wire-answers.ts";
import { tellParent } from "./measured.ts";

const server = createServer((request, response) => {
  const answer = request.url?.endsWith("VerifyKey") ? verifyKeyJson : whoAmIJson;
  request.resume().once("end", () => {
    response.writeHead(200, { "content-type": "application/json" }).end(answer);
  });
});
server.listen(0, "127.0.0.1", () => tellParent((server.address() as AddressInfo).port));
