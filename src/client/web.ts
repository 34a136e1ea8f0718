import { type ConnectTransportOptions, createConnectTransport } from "@connectrpc/connect-web";
import type { ApiKey } from "./authorization.ts";
import { clientsOver, type PatchbayClient, presentKey } from "./connect.ts";

export type { ApiKey } from "./authorization.ts";
export { type PatchbayClient, reasonOf } from "./connect.ts";
export * from "./contracts.ts";
export { type EventFollower, EventsExpired, type FollowOptions, type Positions } from "./follow.ts";
export type { ReasonName } from "./reason.ts";
export type { ConnectionWatcher, WatchedConnections } from "./watch-connections.ts";
export { type EventReader, EventsLost, type Lost } from "./webhooks/missed.ts";
export { memoryPositions, type PositionStore } from "./webhooks/positions.ts";
export { receiveWebhooks, type ReceiveWebhooksOptions, type WebhookReceiver } from "./webhooks/receive.ts";

/** The key to present, and whatever `createConnectTransport` of @connectrpc/connect-web takes. */
export interface PatchbayClientOptions extends ConnectTransportOptions {
  apiKey: ApiKey;
}

/** Clients for browsers, and for any other place with `fetch`, over the Connect protocol. */
export function createPatchbayClient({ apiKey, ...options }: PatchbayClientOptions): PatchbayClient {
  // The key goes on last: an interceptor that tries again gets a fresh one.
  const interceptors = [...(options.interceptors ?? []), presentKey(apiKey)];
  // Binary: a server refuses JSON fields that it does not know. During a rolling upgrade, a newer client would fail at
  // an older server.
  return clientsOver(createConnectTransport({ useBinaryFormat: true, ...options, interceptors }));
}
