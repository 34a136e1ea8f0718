import type { Socket } from "node:net";
import { parseAddress } from "#src/db/address.ts";
import { openSocket } from "#src/db/socket.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

/** A wire to Postgres. */
export interface PostgresProxy extends TcpProxy {
  readonly url: string;
  /** How many statements were sent so far, leaving out the connection that listens. */
  statements(): number;
}

/** Listens on 127.0.0.1 and passes everything on to the Postgres of the URL; `met` is called before each connection. */
export async function startProxy(url: string, met?: () => void): Promise<PostgresProxy> {
  let statements = 0;
  const proxy = await startTcpProxy(
    () => {
      met?.();
      return openSocket(parseAddress(url));
    },
    (client) => countStatements(client, () => (statements += 1)),
  );
  return { ...proxy, url: behind(url, proxy.port), statements: () => statements };
}

/** Counts what a client sends that runs something: simple queries and executions of prepared ones. */
function countStatements(client: Socket, count: () => void): void {
  let pending = Buffer.alloc(0);
  let started = false;
  let listens = false;
  client.on("data", (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      // All messages but the first begin with a byte for their kind; then comes their length, which counts itself.
      const kindBytes = started ? 1 : 0;
      if (pending.length < kindBytes + 4) return;
      const length = kindBytes + pending.readInt32BE(kindBytes);
      if (pending.length < length) return;
      const message = pending.subarray(0, length);
      pending = pending.subarray(length);
      const kind = started ? String.fromCharCode(message[0]!) : undefined;
      if (kind === undefined) listens = message.includes("patchbay listener");
      else if (!listens && (kind === "Q" || kind === "E")) count();
      started = true;
    }
  });
}

function behind(text: string, port: number): string {
  const { user = "", password, database = "" } = parseAddress(text);
  const login = [user, password].filter((part) => part !== undefined).map(encodeURIComponent);
  // The statements could not be counted inside TLS.
  return `postgres://${login.join(":")}@127.0.0.1:${port}/${encodeURIComponent(database)}?sslmode=disable`;
}
