import { vi } from "vitest";
import type { Acknowledged } from "../../support/event-storm.ts";
import { startUpstream, type Upstream } from "../../support/upstream.ts";
import type { Deployment } from "./deployment.ts";
import { Journal } from "./journal.ts";
import {
  ask,
  callThrough,
  sendEvents,
  textOf,
  writeConnections,
  writeKeys,
  type Session,
} from "./writers.ts";

/** What the clients do. */
type Kind = (typeof clients)[number] | "deliveries";
const clients = ["connections", "keys", "calls", "events"] as const;

/** Real clients that write, call and send without a break, whatever happens to the service. */
export interface Load extends AsyncDisposable {
  readonly journal: Journal;
  /** The newest secret of each key that was acknowledged. */
  readonly secrets: ReadonlyMap<string, string>;
  /** The events that were answered for. */
  readonly acknowledged: readonly Acknowledged[];
  readonly channelId: string;
  /** Where connections lead. */
  readonly upstream: Upstream;
  /** The ids of the deliveries that the webhook endpoint took. */
  readonly delivered: ReadonlySet<string>;
  /** Of these, those that did not say what was sent. */
  readonly garbled: readonly string[];
  /** Resolves when each kind of client, or of those that are named, has been served again since it was asked. */
  isServed(kinds?: readonly Kind[]): Promise<void>;
  /** Lets what was begun end. The service must work. */
  end(): Promise<void>;
}

const steady = "custom:steady";
const served = 3;

/** Starts clients of each kind. */
export async function startLoad(deployment: Deployment): Promise<Load> {
  const opened = new AsyncDisposableStack();
  const upstream = opened.use(await startUpstream());
  const endpoint = opened.use(await startUpstream());
  const journal = new Journal();
  const { url, adminKey } = deployment;
  const session: Session = { url, adminKey, upstreamUrl: upstream.url, journal };
  const counts: Record<Kind, number> = { connections: 0, keys: 0, calls: 0, events: 0, deliveries: 0 };
  const delivered = new Set<string>();
  const garbled: string[] = [];
  endpoint.answer(({ headers, body }) => {
    const deliveryId = String(headers["webhook-id"]);
    delivered.add(deliveryId);
    const { id, data } = JSON.parse(body) as { id: string; data?: { text?: string } };
    if (data?.text !== textOf(id)) garbled.push(deliveryId);
    counts.deliveries += 1;
    return { status: 204 };
  });

  const connection = { serviceSlug: steady, baseUrl: `${upstream.url}/steady`, apiKey: "steady" };
  await ask(session, "POST", "/api/service-connections", connection);
  const channel = await newChannel(session);
  const types = [`channel:${channel.id}/*`];
  await ask(session, "POST", "/api/webhook-endpoints", { url: `${endpoint.url}/hook`, types });

  const secrets = new Map<string, string>();
  const senders = sendEvents(session, channel, () => (counts.events += 1));
  const writers = Promise.all([
    writeConnections(session, () => (counts.connections += 1)),
    writeConnections(session, () => (counts.connections += 1)),
    writeKeys(session, secrets, () => (counts.keys += 1)),
    writeKeys(session, secrets, () => (counts.keys += 1)),
    callThrough(session, steady, () => (counts.calls += 1)),
  ]);

  async function end(): Promise<void> {
    journal.isOver = true;
    await Promise.all([writers, senders.end()]);
  }

  return {
    ...{ journal, secrets, channelId: channel.id, upstream, delivered, garbled, end },
    acknowledged: senders.acknowledged,
    async isServed(kinds = clients) {
      const before = { ...counts };
      await vi.waitUntil(() => kinds.every((kind) => counts[kind] >= before[kind] + served), {
        timeout: 60_000,
      });
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** A channel that takes CloudEvents from whoever knows its path. */
async function newChannel(session: Session): Promise<{ id: string; path: string }> {
  const wanted = { name: "load", cloudEvents: {}, receiver: { authentication: "none" } };
  const { data } = await ask(session, "POST", "/api/event-channels", wanted);
  return { id: data.channel.id, path: new URL(data.url).pathname };
}
