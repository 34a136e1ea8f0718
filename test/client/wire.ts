import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A wire to a service that can be held still and cut. */
export interface Wire extends AsyncDisposable {
  readonly url: string;
  /** Keeps everything, in both directions, as a cable that was pulled out would, and connects nobody any more. */
  freeze(): void;
  /** Ends all connections and refuses new ones. */
  cut(): Promise<void>;
  /** Connects again, at the same port. */
  mend(): Promise<void>;
}

export async function layWire(serviceUrl: string): Promise<Wire> {
  const { hostname, port: servicePort } = new URL(serviceUrl);
  const ends = new Set<Socket>();
  let frozen = false;
  const listener = createServer((near) => {
    const far = connect(Number(servicePort), hostname);
    for (const end of [near, far]) {
      ends.add(end);
      end.on("error", () => undefined);
      end.on("close", () => {
        ends.delete(end);
        near.destroy();
        far.destroy();
      });
    }
    if (frozen) return;
    near.pipe(far);
    far.pipe(near);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;

  async function cut(): Promise<void> {
    for (const end of ends) end.destroy();
    if (!listener.listening) return;
    listener.close();
    await once(listener, "close");
  }

  return {
    url: `http://127.0.0.1:${port}`,
    freeze() {
      frozen = true;
      for (const end of ends) end.unpipe().pause();
    },
    cut,
    async mend() {
      frozen = false;
      if (!listener.listening) await once(listener.listen(port, "127.0.0.1"), "listening");
    },
    [Symbol.asyncDispose]: cut,
  };
}
