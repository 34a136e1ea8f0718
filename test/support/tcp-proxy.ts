import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { Transform } from "node:stream";

/** A wire that can be slowed, cut and held. */
export interface TcpProxy extends AsyncDisposable {
  /** Where it takes connections, on 127.0.0.1. */
  readonly port: number;
  /** Lets everything take this long from now on, in each direction. */
  delay(milliseconds: number): void;
  /** Keeps what the server answers from now on, on all connections, until they are cut. */
  holdAnswers(): void;
  /** Keeps everything on the connections that there are, in both directions, as a forgetful firewall would. */
  freeze(): void;
  /** Keeps everything, on new connections too, as a stopped server or a cable pulled out would. */
  blackHole(): void;
  /** Ends all connections. */
  cut(): void;
  /** Refuses new connections from now on, and ends the old. */
  close(): Promise<void>;
  /** Takes connections again, at the same port, and passes everything on at once. */
  reopen(): Promise<void>;
}

/** Passes everything on to the server that `connect` reaches. */
export async function startTcpProxy(
  connect: () => Socket,
  onConnection: (client: Socket) => void = () => undefined,
): Promise<TcpProxy> {
  const pairs = new Set<{ readonly client: Socket; readonly server: Socket }>();
  let isBlackHole = false;
  let delayMs = 0;
  const listener = createServer((client) => {
    onConnection(client);
    const pair = { client, server: connect() };
    pairs.add(pair);
    if (!isBlackHole) {
      client.pipe(wire()).pipe(pair.server);
      pair.server.pipe(wire()).pipe(client);
    }
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

  function wire(): Transform {
    return new Transform({
      transform(chunk, _encoding, done) {
        if (delayMs === 0) done(null, chunk);
        else setTimeout(done, delayMs, null, chunk);
      },
    });
  }

  function cut(): void {
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
  }

  function freeze(): void {
    for (const { client, server } of pairs) {
      client.unpipe().pause();
      server.unpipe().pause();
    }
  }

  async function close(): Promise<void> {
    cut();
    if (!listener.listening) return;
    listener.close();
    await once(listener, "close");
  }

  return {
    port,
    delay: (milliseconds) => (delayMs = milliseconds),
    holdAnswers() {
      for (const { server } of pairs) server.unpipe().pause();
    },
    freeze,
    blackHole() {
      isBlackHole = true;
      freeze();
    },
    cut,
    close,
    async reopen() {
      isBlackHole = false;
      delayMs = 0;
      listener.listen(port, "127.0.0.1");
      await once(listener, "listening");
    },
    [Symbol.asyncDispose]: close,
  };
}
