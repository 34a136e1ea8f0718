import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { expect, test } from "vitest";
import { signingSecretText } from "#src/webhooks/signing.ts";
import { secretOf } from "../support/deliveries.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { PlayedLog } from "./webhook-log.ts";

/** A receiver in a process of its own, which comes back when it is killed. */
class Receiver implements AsyncDisposable {
  readonly #args: readonly string[];
  #running: ReturnType<Receiver["start"]>;
  kills = 0;

  constructor(...args: readonly string[]) {
    this.#args = args;
    this.#running = this.start();
  }

  get url(): Promise<string> {
    return this.#running.then(({ url }) => url);
  }

  async kill(): Promise<void> {
    const { child } = await this.#running;
    this.kills++;
    this.#running = once(child, "exit").then(() => this.start());
    child.kill("SIGKILL");
    await this.#running;
  }

  private async start() {
    const child = spawn(process.execPath, ["test/client/webhooks-process.ts", ...this.#args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [port] = await once(createInterface(child.stdout), "line");
    return { child, url: `http://127.0.0.1:${port}` };
  }

  async [Symbol.asyncDispose]() {
    const { child } = await this.#running;
    child.kill("SIGKILL");
  }
}

/** The log for other processes. */
async function serve(log: PlayedLog) {
  const server = createServer((request, response) => {
    const after = new URL(request.url ?? "", "http://log.example").searchParams.get("after") ?? "0";
    void log.page(BigInt(after)).then((page) => response.end(JSON.stringify(page)));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await once(server.close(), "close");
    },
  };
}

test("two receivers that are killed, of which deliveries are dropped, doubled and out of order, hand over all events once and in order", async () => {
  const count = 200;
  const [roll] = fc.sample(fc.infiniteStream(fc.nat(99)), { numRuns: 1, seed: 20_261_129 });
  const chance = (percent: number) => (roll?.next().value ?? 0) < percent;

  await using database = await createTestDatabase("empty");
  await database.asOwner("create table positions (log text primary key, seq bigint not null)");
  await database.asOwner("create table handed_over (n bigserial, seq bigint not null, data text not null)");
  await using log = new PlayedLog(
    Array.from({ length: count }, () => (chance(70) ? "payment.made" : "other")),
  );
  await using server = await serve(log);
  const args = [database.url, server.url, signingSecretText(secretOf(7))] as const;
  await using one = new Receiver(...args);
  await using other = new Receiver(...args);

  async function deliver(index: number): Promise<void> {
    // As long as the sender would: it was not taken, or nobody knows.
    for (let attempt = 1; attempt <= 100; attempt++) {
      const url = await (chance(50) ? one : other).url;
      const status = await log.send(url, log.selected[index]);
      if (status === 204 && !chance(3)) return;
    }
    throw new Error(`${index} was not taken`);
  }

  // The start, and the end: what is dropped last is missed only when more comes.
  const { length } = log.selected;
  await deliver(0);
  const others = Array.from({ length: length - 2 }, (_, index) => index + 1).filter(() => !chance(3));
  const dropped = length - 2 - others.length;
  const killing = [80, 40, 10];
  async function work(): Promise<void> {
    for (;;) {
      // One of the next sixteen.
      const [next] = others.splice((roll?.next().value ?? 0) % Math.min(16, others.length || 1), 1);
      if (next === undefined) return;
      if (others.length <= (killing[0] ?? -1)) {
        killing.shift();
        await (chance(50) ? one : other).kill();
      }
      await deliver(next);
    }
  }
  await Promise.all(Array.from({ length: 8 }, work));
  await deliver(length - 1);

  const rows = await database.asOwner("select seq::text, data from handed_over order by n");
  expect(rows.map(({ seq }) => Number(seq))).toEqual(log.selected.map(({ event }) => event.seq));
  expect(rows.map(({ data }) => data)).toEqual(log.selected.map(({ event }) => event.data?.toString()));
  expect([dropped > 0, one.kills + other.kills]).toEqual([true, 3]);
});
