import type { ErrorInfo } from "#gen/google/rpc/error_details_pb.js";
import type { Reason } from "#gen/patchbay/errors/v1/errors_pb.js";

/** Why Patchbay refused a call; a newer server may give reasons that this client does not know yet. */
export type ReasonName = Exclude<keyof typeof Reason, "UNSPECIFIED"> | (string & {});

/** The domain of our reasons. */
export const patchbay = "patchbay";

/** The reason among the details of an error; details of another domain come from a proxy, not from Patchbay. */
export function patchbayReason(details: readonly ErrorInfo[]): ReasonName | undefined {
  return details.find((info) => info.domain === patchbay)?.reason;
}
