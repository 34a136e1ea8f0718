import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect, test, vi } from "vitest";

test("connections beyond what all workers take are closed, and not offered round for ever", async () => {
  const program = ["test/faults/support/ports-in-workers.ts"];
  const primary = spawn("node_modules/.bin/node", program, { stdio: ["ignore", "pipe", "inherit"] });
  using sockets = new DisposableStack();
  sockets.defer(() => primary.kill("SIGKILL"));
  const [port] = (await once(primary.stdout.setEncoding("utf8"), "data")) as [string];

  let closed = 0;
  async function open(): Promise<Socket> {
    const socket = connect(Number(port), "127.0.0.1").on("error", () => undefined);
    sockets.defer(() => socket.destroy());
    socket.once("close", () => closed++);
    await once(socket, "connect");
    return socket;
  }
  const first = await open();
  for (let i = 0; i < 6; i++) await open();
  await vi.waitUntil(() => closed === 3, { timeout: 50_000 });
  // Room is room again.
  first.destroy();
  await vi.waitUntil(
    async () => {
      const answer = fetch(`http://127.0.0.1:${Number(port)}/`, { headers: { connection: "close" } });
      return (await answer.then((response) => response.text()).catch(() => "")) === "here";
    },
    { timeout: 50_000 },
  );
  expect(closed).toBeGreaterThanOrEqual(4);
});
