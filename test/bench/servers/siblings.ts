import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tellParent } from "./measured.ts";

/** Many services on one port, at as many addresses: one that is asked for /hang does not answer. */
const server = createServer((request, response) => {
  if (request.url !== "/hang") response.end();
});

server.listen(0, "0.0.0.0", () => tellParent((server.address() as AddressInfo).port));
