import { credentials } from "@grpc/grpc-js";
import { Agent, request as httpRequest } from "node:http";
import { createPatchbayClient, type PatchbayClient } from "#src/client/grpc-js.ts";

/** Asks a server once, and fails unless it answers well. */
export type Ask = () => Promise<void>;

/** Asks over HTTP/1.1 on connections that stay open, those of the agent: with a body by POST, else by GET. */
export function httpAsker(
  port: number,
  path: string,
  apiKey: string,
  body?: object,
  agent = new Agent({ keepAlive: true }),
): Ask {
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

/** Asks another question each time. Whenever the first is due, something is done before. */
export function inTurn(asks: readonly Ask[], beforeFirst: () => Promise<unknown>): Ask {
  let turn = -1;
  return async () => {
    turn = (turn + 1) % asks.length;
    const ask = asks[turn];
    if (turn === 0) await beforeFirst();
    await ask?.();
  };
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
