import { connect, type Socket } from "node:net";
import { readAnswers, type Http1Answer } from "./http1-answers.ts";

/** What a raw client does: send bytes, or something else, such as to end its half of the connection or to wait. */
export type Step = string | Buffer | ((socket: Socket) => unknown);

/** All that a client sees of one connection. */
export interface Http1Observation {
  readonly answers: readonly Http1Answer[];
  /** What became of the connection after the last answer. */
  readonly ending: string;
}

/** Longer than anything that ends by itself: only a server that says nothing at all is given up on. */
const patienceMs = 20_000;

const probe = "GET /healthz HTTP/1.1\r\nhost: a\r\nx-request-id: probe\r\nconnection: close\r\n\r\n";

/**
 * Sends bytes as they are given and reads this many final answers. After the last one, the connection is used again
 * unless the server said that it closes it: a server that leaves a connection in a wrong state answers that request
 * wrongly.
 */
export async function observeHttp1(
  port: number,
  steps: readonly Step[],
  { answers: wanted = 1, head = false } = {},
): Promise<Http1Observation> {
  const client = await openClient(port);
  try {
    for (const step of steps) {
      if (typeof step === "function") await step(client.socket);
      else client.socket.write(step);
    }
    const parsed = () => readAnswers(client.received(), client.ended(), head);
    await client.until(() => finals(parsed()).length >= wanted);
    const answers = parsed();
    return { answers, ending: await endingOf(client, finals(answers)) };
  } finally {
    client.socket.destroy();
  }
}

function finals(answers: readonly Http1Answer[]): readonly Http1Answer[] {
  return answers.filter(({ status, whole }) => whole && status >= 200);
}

async function endingOf(client: Client, answers: readonly Http1Answer[]): Promise<string> {
  const last = answers.at(-1);
  if (client.socket.writableEnded || last === undefined || closes(last)) {
    await client.until(() => false);
    return client.ended() ? "ended by the server" : "left open";
  }
  const before = client.received().length;
  client.socket.write(probe);
  await client.until(() => false);
  const reply = client.received().subarray(before).toString("latin1");
  return `used again: ${reply.split("\r\n", 1).join("") || "no answer"}`;
}

function closes({ headers }: Http1Answer): boolean {
  return headers.some((line) => line === "connection: close");
}

interface Client {
  readonly socket: Socket;
  received(): Buffer;
  ended(): boolean;
  /** Until the condition holds or the connection is over; for no longer than patience lasts. */
  until(holds: () => boolean): Promise<void>;
}

async function openClient(port: number): Promise<Client> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  let isOver = false;
  let wake = () => {};
  const over = () => {
    isOver = true;
    wake();
  };
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    wake();
  });
  // A reset is one way for a server to hang up, and what follows the answer of a refused body is a race of its own.
  socket.on("error", () => {});
  socket.on("end", over).on("close", over);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve).once("error", reject);
  });
  return {
    socket,
    received: () => Buffer.concat(chunks),
    ended: () => isOver,
    until: (holds) =>
      new Promise((resolve) => {
        const done = () => {
          clearTimeout(patience);
          wake = () => {};
          resolve();
        };
        const patience = setTimeout(done, patienceMs);
        wake = () => {
          if (isOver || holds()) done();
        };
        wake();
      }),
  };
}
