import { once } from "node:events";
import { createServer } from "node:net";
import { listenError } from "#src/net/listen-error.ts";

/** Opens the port and closes it again, which tells what stands against it before workers are started; 0 finds one. */
export async function tryPort(host: string, port: number): Promise<number> {
  const server = createServer().listen({ host, port });
  try {
    await once(server, "listening");
  } catch (error) {
    throw listenError(error, host, port);
  }
  const address = server.address();
  server.close();
  await once(server, "close");
  return address === null || typeof address === "string" ? port : address.port;
}
