import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createPatchbayClient } from "#src/client/node.ts";
import { startSenders, type Sending } from "../../support/event-storm.ts";
import { Refused } from "./failure.ts";
import type { Journal } from "./journal.ts";

/** Where writers write, and what they know of it. */
export interface Session {
  readonly url: string;
  readonly adminKey: string;
  /** Where the connections lead. */
  readonly upstreamUrl: string;
  readonly journal: Journal;
}

// Those who only wait leave the machine to those who write.
const pauseMs = 10;
/** Longer than the service takes for anything that it does by itself. */
const patienceMs = 15_000;

/** Makes connections, replaces their credentials, and deletes every third, over REST. */
export async function writeConnections(session: Session, made: () => void): Promise<void> {
  const { journal, upstreamUrl } = session;
  for (let n = 0; !journal.isOver; n++) {
    const name = newName();
    const put = async () => {
      const apiKey = randomUUID();
      const body = { serviceSlug: `custom:${name}`, baseUrl: `${upstreamUrl}/${name}`, apiKey };
      const reply = await journal.write(`connection ${name}`, apiKey, (requestId) =>
        ask(session, "POST", "/api/service-connections", body, { requestId }),
      );
      if (reply !== undefined) made();
      return reply;
    };
    const created = await put();
    if (created === undefined || (await put()) === undefined) continue;
    if (n % 3 > 0) continue;
    const path = `/api/service-connections/${created.data.connection.id}`;
    await journal.write(`connection ${name}`, "gone", (requestId) =>
      ask(session, "DELETE", path, undefined, { requestId }),
    );
  }
}

/** Issues keys, rotates them, and revokes every third, over gRPC. Answers the newest secret of each by its name. */
export async function writeKeys(
  { url, adminKey, journal }: Session,
  secrets: Map<string, string>,
  made: () => void,
): Promise<void> {
  const { apiKeys } = createPatchbayClient({ baseUrl: url, apiKey: adminKey });
  const as = (requestId: string) => ({ headers: { "x-request-id": requestId }, timeoutMs: patienceMs });
  for (let n = 0; !journal.isOver; n++) {
    const name = newName();
    const record = `key ${name}`;
    const created = await journal.write(record, "active", (requestId) =>
      apiKeys.createApiKey({ name, scopes: ["read"] }, as(requestId)),
    );
    if (created?.apiKey === undefined) continue;
    const { id } = created.apiKey;
    secrets.set(name, created.secret);
    made();
    const rotated = await journal.write(record, "active", (requestId) =>
      apiKeys.rotateApiKey({ id }, as(requestId)),
    );
    if (rotated === undefined) continue;
    secrets.set(name, rotated.secret);
    made();
    if (n % 3 > 0) continue;
    await journal.write(record, "gone", (requestId) => apiKeys.revokeApiKey({ id }, as(requestId)));
  }
}

/** Calls the service of one connection over and over, and is answered. */
export async function callThrough(session: Session, service: string, made: () => void): Promise<void> {
  const { journal } = session;
  while (!journal.isOver) {
    try {
      await ask(session, "POST", "/api/service-calls", { service, method: "GET", path: "/" });
      made();
      await sleep(pauseMs);
    } catch (error) {
      await journal.failed(error);
    }
  }
}

/** Sends CloudEvents to the channel, each of them until it is answered for. */
export function sendEvents(
  { url, journal }: Session,
  channel: { readonly id: string; readonly path: string },
  made: () => void,
): ReturnType<typeof startSenders> {
  const send = async ({ id }: Sending) => {
    const headers = { "ce-specversion": "1.0", "ce-id": id, "ce-source": "/load", "ce-type": "load.sent" };
    try {
      const answer = await answerOf(
        await fetch(url + channel.path, {
          method: "POST",
          headers: { ...headers, "content-type": "application/json" },
          body: JSON.stringify({ text: textOf(id) }),
          signal: AbortSignal.timeout(patienceMs),
        }),
      );
      made();
      await sleep(pauseMs);
      return Number(answer["seq"]);
    } catch (error) {
      await journal.failed(error);
      throw error;
    }
  };
  return startSenders({ count: 3, logs: [channel.id], send });
}

/** What the event of this id says: some are long, which takes another way into the database. */
export function textOf(id: string): string {
  return "x".repeat(id.startsWith("0") ? 300_000 : 100);
}

/** How a call is made, beside what it asks. */
interface Asking {
  readonly requestId?: string;
  readonly timeoutMs?: number;
}

/** A REST call; anything but success is thrown. */
export async function ask(
  { url, adminKey }: Pick<Session, "url" | "adminKey">,
  method: string,
  path: string,
  body?: unknown,
  { requestId = randomUUID(), timeoutMs = patienceMs }: Asking = {},
  // oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
): Promise<any> {
  return await answerOf(
    await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${adminKey}`,
        "x-request-id": requestId,
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    }),
  );
}

async function answerOf(response: Response) {
  const text = await response.text();
  if (!response.ok) throw new Refused(response, text);
  return JSON.parse(text);
}

function newName(): string {
  return `r${randomUUID().replaceAll("-", "")}`;
}
