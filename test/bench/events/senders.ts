import { createHmac, randomUUID } from "node:crypto";
import { Agent, request } from "node:http";

/** A process that sends webhooks as GitHub does. Told where and for how long, it answers how long each took. */
interface Task {
  readonly port: number;
  readonly channels: readonly { readonly id: string; readonly secret: string }[];
  readonly callers: number;
  readonly visitMs: number;
}

const agent = new Agent({ keepAlive: true });
const body = Buffer.from(JSON.stringify({ action: "opened", note: "x".repeat(960) }));

function send({ port, channels }: Task): Promise<void> {
  const { id = "", secret = "" } = channels[Math.floor(Math.random() * channels.length)] ?? {};
  const headers = {
    "content-type": "application/json",
    "content-length": body.length,
    "x-github-delivery": randomUUID(),
    "x-github-event": "issues",
    "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
  };
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: "127.0.0.1", port, path: `/in/${id}`, method: "POST", agent, headers },
      (response) => {
        if (response.statusCode !== 200) reject(new Error(`answered ${response.statusCode}`));
        response.resume().once("end", resolve).once("error", reject);
      },
    );
    asked.once("error", reject).end(body);
  });
}

process.on("message", (task: Task) => {
  const latencies: number[] = [];
  const began = performance.now();
  const callers = Array.from({ length: task.callers }, async () => {
    while (performance.now() - began < task.visitMs) {
      const sentAt = performance.now();
      await send(task);
      latencies.push(performance.now() - sentAt);
    }
  });
  Promise.all(callers).then(
    () => process.send?.({ latencies }),
    (error: unknown) => process.send?.({ failure: String(error) }),
  );
});
