import {
  type Client,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type ApiKey, authorizationOf } from "./authorization.ts";
import { createFollow, type EventFollower } from "./follow.ts";
import { patchbayReason, type ReasonName } from "./reason.ts";
import { services } from "./services.ts";
import { type ConnectionWatcher, createWatch } from "./watch-connections.ts";

/** One typed Connect client per service of Patchbay. */
type Clients = { readonly [Name in keyof typeof services]: Client<(typeof services)[Name]> };

/** The typed clients of all services. That of events also follows logs, and that of connections watches them. */
export type PatchbayClient = Clients & {
  readonly events: EventFollower;
  readonly connections: ConnectionWatcher;
};

/** The clients of all services over one transport. */
export function clientsOver(transport: Transport): PatchbayClient {
  const clients = Object.entries(services).map(([name, service]) => [name, createClient(service, transport)]);
  const typed = Object.fromEntries(clients) as Clients;
  const { events, connections } = typed;
  return {
    ...typed,
    events: { ...events, follow: createFollow(events) },
    connections: { ...connections, watch: createWatch(connections) },
  };
}

/** Presents the key with each call. */
export function presentKey(apiKey: ApiKey): Interceptor {
  return (next) => async (request) => {
    request.header.set("authorization", authorizationOf(apiKey));
    return next(request);
  };
}

/** The reason that Patchbay gave for refusing a call, or undefined if the error is not a refusal of Patchbay. */
export function reasonOf(error: unknown): ReasonName | undefined {
  return error instanceof ConnectError ? patchbayReason(error.findDetails(ErrorInfoSchema)) : undefined;
}
