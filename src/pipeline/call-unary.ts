import {
  create,
  type DescMessage,
  type DescMethodUnary,
  type MessageInitShape,
  type Message,
} from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { callOf } from "#src/platform/caller.ts";
import type { ServedService } from "#src/platform/served-service.ts";
import type { BehindGate } from "./behind-gate.ts";
import type { ReportFailure } from "./report-failure.ts";

/** Runs the handler of one unary call, and what stands between it and the gate. */
export type CallUnary = (
  method: DescMethodUnary,
  message: Message,
  context: HandlerContext,
) => Promise<Message>;

/** The way into the handlers for all calls that Connect does not serve. */
export function createCallUnary(
  services: readonly ServedService[],
  behindGate: BehindGate,
  report: ReportFailure,
): CallUnary {
  const impls = new Map(services.map(({ desc, impl }) => [desc, impl]));

  return async (method, message, context) => {
    const handle = impls.get(method.parent)?.[method.localName] as Handle;
    const call = callOf(context);
    const idempotencyKey = () => context.requestHeader.get("idempotency-key");
    try {
      return await behindGate({ method, message, call, idempotencyKey }, async () =>
        create(method.output, await handle(message, context)),
      );
    } catch (thrown) {
      throw report(thrown, call, context.signal);
    }
  };
}

type Handle = (
  message: Message,
  context: HandlerContext,
) => Promise<MessageInitShape<DescMessage>> | MessageInitShape<DescMessage>;
