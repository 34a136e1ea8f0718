import { createGrpcTransport, type GrpcTransportOptions } from "@connectrpc/connect-node";
import { type AuditExporter, auditExporterOf } from "./audit-export.ts";
import type { ApiKey } from "./authorization.ts";
import { clientsOver, type PatchbayClient as Clients, presentKey } from "./connect.ts";
import { type ProxyClient, proxyClientOf } from "./proxy-fetch.ts";

export { type AuditExporter, type AuditExportOptions } from "./audit-export.ts";
export type { ApiKey } from "./authorization.ts";
export { reasonOf } from "./connect.ts";
export * from "./contracts.ts";
export { type EventFollower, EventsExpired, type FollowOptions, type Positions } from "./follow.ts";
export type { ReasonName } from "./reason.ts";
export type { ConnectionWatcher, WatchedConnections } from "./watch-connections.ts";
export { type EventReader, EventsLost, type Lost } from "./webhooks/missed.ts";
export { memoryPositions, type PositionStore } from "./webhooks/positions.ts";
export { receiveWebhooks, type ReceiveWebhooksOptions, type WebhookReceiver } from "./webhooks/receive.ts";

/** One typed client per service of Patchbay, a `fetch` for each connection, and exports of the audit record. */
export type PatchbayClient = Clients & ProxyClient & AuditExporter;

/** The key to present, and whatever `createGrpcTransport` of @connectrpc/connect-node takes. */
export interface PatchbayClientOptions extends GrpcTransportOptions {
  apiKey: ApiKey;
}

/**
 * Clients for Node over gRPC: `http://` speaks HTTP/2 in the clear, `https://` over TLS. All share one
 * connection, which is opened by the first call and does not keep the process alive.
 */
export function createPatchbayClient({ apiKey, ...options }: PatchbayClientOptions): PatchbayClient {
  // The key goes on last: an interceptor that tries again gets a fresh one.
  const interceptors = [...(options.interceptors ?? []), presentKey(apiKey)];
  const clients = clientsOver(createGrpcTransport({ ...options, interceptors }));
  const { baseUrl } = options;
  return { ...clients, ...proxyClientOf({ baseUrl, apiKey }), ...auditExporterOf({ baseUrl, apiKey }) };
}
