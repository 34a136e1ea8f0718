import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";

/** Whether a write was made, as far as its caller can know. */
export type Outcome = "acknowledged" | "nothing was changed" | "unknown";

/** An answer of the service that is none to what was asked, as its caller saw it. */
export interface Refusal {
  readonly reason: string | undefined;
  /** All that was said, in the body, the message and the details. */
  readonly text: string;
}

/** A REST answer that is no success. */
export class Refused extends Error {
  readonly reason: string | undefined;
  readonly mayBeRepeated: boolean;

  constructor({ status, headers }: Response, body: string) {
    super(`${status} ${body}`);
    this.reason = headers.get("x-error-reason") ?? undefined;
    // Where it is not known what was changed, the service gives none.
    this.mayBeRepeated = headers.has("retry-after");
  }
}

/** What a failure says; no refusal if it is not the service's, such as the end of a connection. */
export function readFailure(error: unknown): { readonly outcome: Outcome; readonly refusal?: Refusal } {
  if (error instanceof Refused) {
    const outcome = error.mayBeRepeated ? "nothing was changed" : "unknown";
    return { outcome, refusal: { reason: error.reason, text: error.message } };
  }
  if (!(error instanceof ConnectError)) return { outcome: "unknown" };
  const [info] = error.findDetails(ErrorInfoSchema);
  // Made by the client, when the connection ended under it.
  if (info === undefined && error.code !== Code.Internal && error.code !== Code.Unknown)
    return { outcome: "unknown" };
  const metadata = info?.metadata ?? {};
  return {
    outcome: metadata["outcome"] === "unknown" || info === undefined ? "unknown" : "nothing was changed",
    refusal: { reason: info?.reason, text: `${error.message} ${JSON.stringify(metadata)}` },
  };
}
