import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  makeClientConstructor,
  type Metadata,
  type MethodDefinition,
  type requestCallback,
} from "@grpc/grpc-js";

/** The @grpc/grpc-js client of a service, typed from its descriptor. */
export type GrpcClient<S extends DescService> = Client & {
  readonly [Name in keyof S["method"]]: GrpcMethod<S["method"][Name]>;
};

type GrpcMethod<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryMethod<MessageInitShape<I>, MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, ...context: Context) => ClientReadableStream<MessageShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (
            ...rest: [...context: Context, callback: requestCallback<MessageShape<O>>]
          ) => ClientWritableStream<MessageInitShape<I>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (...context: Context) => ClientDuplexStream<MessageInitShape<I>, MessageShape<O>>
          : never;

interface UnaryMethod<I, O> {
  (request: I, ...rest: [...context: Context, callback: requestCallback<O>]): ClientUnaryCall;
  (request: I, ...context: Context): Promise<O>;
}

type Context =
  [] | [metadata: Metadata] | [options: CallOptions] | [metadata: Metadata, options: CallOptions];

/** What `makeClientConstructor` and a server's `addService` need to know of a service. */
export type GrpcServiceDefinition<S extends DescService> = {
  readonly [Name in keyof S["method"]]: MethodDefinition<
    MessageInitShape<S["method"][Name]["input"]>,
    MessageShape<S["method"][Name]["output"]>
  >;
};

/** The @grpc/grpc-js definition of a service, from the same descriptor that Connect uses. */
export function grpcServiceDefinition<S extends DescService>(service: S): GrpcServiceDefinition<S> {
  const methods = service.methods.map((method) => [
    method.localName,
    {
      path: `/${service.typeName}/${method.name}`,
      requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
      responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
      requestSerialize: serializer(method.input),
      requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
      responseSerialize: serializer(method.output),
      responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
    },
  ]);
  return Object.fromEntries(methods) as GrpcServiceDefinition<S>;
}

function serializer(schema: DescMessage) {
  return (message: MessageInitShape<DescMessage>): Buffer => {
    const bytes = toBinary(schema, create(schema, message));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

/** A typed client for any service of a descriptor; the other arguments are those of every @grpc/grpc-js client. */
export function createGrpcClient<S extends DescService>(
  service: S,
  address: string,
  credentials: ChannelCredentials,
  options?: ClientOptions,
): GrpcClient<S> {
  const GrpcJsClient = makeClientConstructor(grpcServiceDefinition(service), service.typeName);
  const client = new GrpcJsClient(address, credentials, options);
  for (const { localName, methodKind } of service.methods) {
    if (methodKind === "unary") client[localName] = promising(client[localName] as Method);
  }
  return client as unknown as GrpcClient<S>;
}

type Method = (this: Client, ...args: unknown[]) => unknown;

/** The method with a second form: without a callback it returns a promise. */
function promising(method: Method): Method {
  return function (...args) {
    if (typeof args.at(-1) === "function") return method.apply(this, args);
    return new Promise((resolve, reject) => {
      method.call(this, ...args, (error: Error | null, response: unknown) =>
        error === null ? resolve(response) : reject(error),
      );
    });
  };
}
