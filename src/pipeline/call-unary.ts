import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type Message,
} from "@bufbuild/protobuf";
import type { HandlerContext, Interceptor, UnaryRequest, UnaryResponse } from "@connectrpc/connect";
import type { ServedService } from "#src/platform/served-service.ts";

/** Runs interceptors and handler of one unary call. */
export type CallUnary = (
  method: DescMethodUnary,
  message: Message,
  context: HandlerContext,
) => Promise<Message>;

/** The way into the handlers for what is not Connect, such as REST: through the same interceptors. */
export function createCallUnary(
  services: readonly ServedService[],
  interceptors: readonly Interceptor[],
): CallUnary {
  const impls = new Map(services.map(({ desc, impl }) => [desc.typeName, impl]));

  async function handle(request: UnaryRequest, context: HandlerContext): Promise<UnaryResponse> {
    const { method } = request;
    const impl = impls.get(method.parent.typeName)?.[method.localName] as Handle;
    const answer = await impl(request.message, { ...context, signal: request.signal });
    return {
      stream: false,
      service: request.service,
      method,
      message: create(method.output, answer),
      header: context.responseHeader,
      trailer: context.responseTrailer,
    };
  }

  return async (method, message, context) => {
    type Next = ReturnType<Interceptor>;
    const innermost: Next = (request) => handle(request as UnaryRequest, context);
    const chain = interceptors.reduceRight((next, interceptor) => interceptor(next), innermost);
    const response = await chain({
      stream: false,
      service: method.parent,
      method,
      message,
      requestMethod: context.requestMethod,
      url: context.url,
      signal: context.signal,
      header: context.requestHeader,
      contextValues: context.values,
    });
    return response.message as Message;
  };
}

type Handle = (
  message: Message,
  context: HandlerContext,
) => Promise<MessageInitShape<DescMessage>> | MessageInitShape<DescMessage>;
