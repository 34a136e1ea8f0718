import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A server on all of this machine's loopback addresses, which answers when it is told to. */
export interface HangingServer extends AsyncDisposable {
  /** At the address with this number, 127.0.0.<number>. */
  url(number: number): string;
  /** How many requests have come. */
  readonly came: number;
  /** Resolves when this many have come. */
  reached(count: number): Promise<void>;
  /** Answers what came so far with the status. */
  answer(status: number): void;
}

export async function startHanging(): Promise<HangingServer> {
  const waiting: ((status: number) => void)[] = [];
  const watching: { count: number; resolve: () => void }[] = [];
  let came = 0;
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      came++;
      waiting.push((status) => response.writeHead(status).end());
      for (const { count, resolve } of watching) if (came >= count) resolve();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: (number) => `http://127.0.0.${number}:${port}`,
    get came() {
      return came;
    },
    reached: (count) =>
      new Promise((resolve) => (came >= count ? resolve() : void watching.push({ count, resolve }))),
    answer(status) {
      for (const answer of waiting.splice(0)) answer(status);
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
