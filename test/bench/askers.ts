import { credentials } from "@grpc/grpc-js";
import { Agent, request as httpRequest } from "node:http";
import { createPatchbayClient, type PatchbayClient } from "#src/client/grpc-js.ts";

/** Asks a server once, and fails unless it answers well. */
export type Ask = () => Promise<void>;

/** Asks over HTTP/1.1 on connections that stay open: with a body by POST, else by GET. */
export function httpAsker(port: number, path: string, apiKey: string, body?: object): Ask {
  const agent = new Agent({ keepAlive: true });
  const sent = body && JSON.stringify(body);
  const method = sent === undefined ? "GET" : "POST";
  const headers = {
    authorization: `Bearer ${apiKey}`,
    ...(sent !== undefined && { "content-type": "application/json", "content-length": sent.length }),
  };
  return () =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ host: "127.0.0.1", port, method, path, agent, headers }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`${path} answered ${response.statusCode}`));
        response.resume().once("end", resolve).once("error", reject);
      });
      request.once("error", reject).end(sent);
    });
}

/** Asks over gRPC, all on one connection. */
export function grpcAsker(
  port: number,
  apiKey: string,
  call: (client: PatchbayClient) => Promise<unknown>,
): Ask {
  const address = `127.0.0.1:${port}`;
  const client = createPatchbayClient({ address, credentials: credentials.createInsecure(), apiKey });
  return async () => void (await call(client));
}
