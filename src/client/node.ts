import { createGrpcTransport, type GrpcTransportOptions } from "@connectrpc/connect-node";
import type { ApiKey } from "./authorization.ts";
import { clientsOver, type PatchbayClient, presentKey } from "./connect.ts";

export type { ApiKey } from "./authorization.ts";
export { type PatchbayClient, reasonOf } from "./connect.ts";
export * from "./contracts.ts";
export type { ReasonName } from "./reason.ts";

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
  return clientsOver(createGrpcTransport({ ...options, interceptors }));
}
