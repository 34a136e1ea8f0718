import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { whoAmIJson } from "../who-am-i-answer.ts";
import { tellParent } from "./measured.ts";

const server = createServer((request, response) => {
  request.resume().once("end", () => {
    response.writeHead(200, { "content-type": "application/json" }).end(whoAmIJson);
  });
});
server.listen(0, "127.0.0.1", () => tellParent((server.address() as AddressInfo).port));
