import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { parseAddress } from "#src/db/address.ts";
import { openSocket } from "#src/db/socket.ts";

/** A wire to Postgres that can be cut and held. */
export interface PostgresProxy extends AsyncDisposable {
  readonly url: string;
  /** Keeps what the server answers from now on, on all connections, until they are cut. */
  holdAnswers(): void;
  /** Keeps everything on the connections that there are, in both directions, as a forgetful firewall would. */
  freeze(): void;
  /** Keeps everything, on new connections too, as a stopped server or a cable pulled out would. */
  blackHole(): void;
  /** How many statements were sent so far, leaving out the connection that listens. */
  statements(): number;
  /** Ends all connections. */
  cut(): void;
  /** Refuses new connections from now on, and ends the old. */
  close(): Promise<void>;
  /** Takes connections again, at the same port, and passes everything on. */
  reopen(): Promise<void>;
}

/** Listens on 127.0.0.1 and passes everything on to the Postgres of the URL. */
export async function startProxy(url: string): Promise<PostgresProxy> {
  const pairs = new Set<{ readonly client: Socket; readonly server: Socket }>();
  let statements = 0;
  let isBlackHole = false;
  const listener = createServer((client) => {
    countStatements(client, () => (statements += 1));
    const pair = { client, server: connectTo(url) };
    pairs.add(pair);
    if (!isBlackHole) client.pipe(pair.server);
    if (!isBlackHole) pair.server.pipe(client);
    for (const socket of [client, pair.server]) {
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        pair.server.destroy();
        pairs.delete(pair);
      });
    }
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;

  function cut(): void {
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
  }

  function freeze(): void {
    for (const { client, server } of pairs) {
      client.unpipe(server).pause();
      server.unpipe(client).pause();
    }
  }

  async function close(): Promise<void> {
    cut();
    if (!listener.listening) return;
    listener.close();
    await once(listener, "close");
  }

  return {
    url: behind(url, port),
    holdAnswers() {
      for (const { client, server } of pairs) server.unpipe(client).pause();
    },
    freeze,
    blackHole() {
      isBlackHole = true;
      freeze();
    },
    statements: () => statements,
    cut,
    close,
    async reopen() {
      isBlackHole = false;
      listener.listen(port, "127.0.0.1");
      await once(listener, "listening");
    },
    [Symbol.asyncDispose]: close,
  };
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

function connectTo(text: string): Socket {
  return openSocket(parseAddress(text));
}

function behind(text: string, port: number): string {
  const { user = "", password, database = "" } = parseAddress(text);
  const login = [user, password].filter((part) => part !== undefined).map(encodeURIComponent);
  // The statements could not be counted inside TLS.
  return `postgres://${login.join(":")}@127.0.0.1:${port}/${encodeURIComponent(database)}?sslmode=disable`;
}
