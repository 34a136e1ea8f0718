import { getOption, hasOption, type DescMethod } from "@bufbuild/protobuf";
import { limits } from "#gen/patchbay/options/v1/options_pb.js";

/** How much one call may bring, and how long it may take. */
export interface CallLimits {
  /** Of one message. */
  readonly messageBytes: number;
  /** Of a unary call whose caller sets no deadline, or a later one; reading its body is a part of it. */
  readonly timeoutMs: number;
}

const usual: CallLimits = {
  messageBytes: 4 * 1024 * 1024,
  // A call through a connection may take 60 s; ours ends a little later, so that the caller learns why.
  timeoutMs: 65_000,
};

const known = new WeakMap<DescMethod, CallLimits>();

/** The limits that a method declares, and the usual ones where it declares none. */
export function callLimitsOf(method: DescMethod): CallLimits {
  const before = known.get(method);
  if (before !== undefined) return before;
  const found = hasOption(method, limits) ? declared(method) : usual;
  known.set(method, found);
  return found;
}

function declared(method: DescMethod): CallLimits {
  const { messageBytes, deadline } = getOption(method, limits);
  return {
    messageBytes: messageBytes || usual.messageBytes,
    timeoutMs:
      deadline === undefined ? usual.timeoutMs : Number(deadline.seconds) * 1000 + deadline.nanos / 1e6,
  };
}
