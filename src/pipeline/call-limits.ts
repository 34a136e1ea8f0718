import { getOption, hasOption, type DescMethod } from "@bufbuild/protobuf";
import { limits } from "#gen/patchbay/options/v1/options_pb.js";

/** How much one call may bring, and how long it may take. */
export interface CallLimits {
  /** Of one message. */
  readonly messageBytes: number;
  /**
   * Of one in JSON, which takes longer to read: the texts in it, base64 among them, are each read in one go. A document
   * as it is, which is a whole body, is not read as JSON.
   */
  readonly jsonBytes: number;
  /** Of a unary call whose caller sets no deadline, or a later one; reading its body is a part of it. */
  readonly timeoutMs: number;
}

const usualBytes = 4 * 1024 * 1024;
const usual: CallLimits = {
  messageBytes: usualBytes,
  jsonBytes: usualBytes,
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
  const { messageBytes: declaredBytes, deadline } = getOption(method, limits);
  const messageBytes = declaredBytes || usualBytes;
  return {
    messageBytes,
    jsonBytes: Math.min(messageBytes, usualBytes),
    timeoutMs:
      deadline === undefined ? usual.timeoutMs : Number(deadline.seconds) * 1000 + deadline.nanos / 1e6,
  };
}
