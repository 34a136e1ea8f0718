import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  type CallInvocationTransformer,
  Channel,
  type ChannelCredentials,
  type ChannelOptions,
  Metadata,
} from "@grpc/grpc-js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { type ApiKey, authorizationOf } from "./authorization.ts";
import { createGrpcClient, type GrpcClient } from "./grpc-service.ts";
import { patchbayReason, type ReasonName } from "./reason.ts";
import { services } from "./services.ts";

export type { ApiKey } from "./authorization.ts";
export * from "./contracts.ts";
export { createGrpcClient, type GrpcClient, grpcServiceDefinition } from "./grpc-service.ts";
export type { ReasonName } from "./reason.ts";

/** Where Patchbay is and how to reach it, as @grpc/grpc-js takes it, and the key to present. */
export interface PatchbayClientOptions {
  /** A gRPC target such as `patchbay.internal:7420` or `dns:///patchbay.internal:7420`. */
  address: string;
  /** `credentials.createInsecure()` or `credentials.createSsl()`. */
  credentials: ChannelCredentials;
  apiKey: ApiKey;
  channelOptions?: ChannelOptions;
}

/** One typed @grpc/grpc-js client per service of Patchbay, all over one channel. */
export type PatchbayClient = {
  readonly [Name in keyof typeof services]: GrpcClient<(typeof services)[Name]>;
} & {
  close(): void;
};

// A connected service's answer may be 10 MiB; @grpc/grpc-js refuses more than 4 by default.
const receiveLimit = { "grpc.max_receive_message_length": 16 * 1024 * 1024 };

/**
 * Clients over @grpc/grpc-js, with its habits: callbacks, `Metadata`, `CallOptions`. A unary call without a
 * callback answers a promise.
 */
export function createPatchbayClient(options: PatchbayClientOptions): PatchbayClient {
  const { address, credentials } = options;
  const channel = new Channel(address, credentials, { ...receiveLimit, ...options.channelOptions });
  const shared = { channelOverride: channel, callInvocationTransformer: presentKey(options.apiKey) };
  const clients = Object.entries(services).map(([name, service]) => [
    name,
    createGrpcClient(service, address, credentials, shared),
  ]);
  return { ...Object.fromEntries(clients), close: () => channel.close() } as PatchbayClient;
}

// Neither call credentials, which grpc-js sends over TLS only, nor an interceptor, which those of a single call replace.
function presentKey(apiKey: ApiKey): CallInvocationTransformer {
  return (call) => {
    const metadata = call.metadata.clone();
    metadata.set("authorization", authorizationOf(apiKey));
    return { ...call, metadata };
  };
}

/** The reason that Patchbay gave for refusing a call, or undefined if the error is not a refusal of Patchbay. */
export function reasonOf(error: unknown): ReasonName | undefined {
  if (!(error instanceof Error && "metadata" in error && error.metadata instanceof Metadata))
    return undefined;
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Uint8Array)) return undefined;
  try {
    const { details } = fromBinary(StatusSchema, bytes);
    return patchbayReason(details.flatMap((detail) => anyUnpack(detail, ErrorInfoSchema) ?? []));
  } catch {
    // Details that cannot be read must not hide the error that carries them.
    return undefined;
  }
}
