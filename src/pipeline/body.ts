import type { Holding } from "#src/platform/byte-budget.ts";
import type { Request } from "#src/platform/http.ts";
import { Pieces } from "#src/platform/pieces.ts";

const none = Buffer.alloc(0);

/** Whether the headers already say that no body follows. */
export function hasNoBody(request: Request): boolean {
  if ("stream" in request) return request.stream.endAfterHeaders;
  return (
    (request.headers["content-length"] ?? "0") === "0" && request.headers["transfer-encoding"] === undefined
  );
}

/** Reads the body; undefined, with the rest unread, as soon as it is known to be larger than the limit. */
export function readBody(
  request: Request,
  maxBytes: number,
  holding: Holding | undefined,
): Promise<Buffer | undefined> {
  if (hasNoBody(request)) return Promise.resolve(none);
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return Promise.resolve(undefined);
  // A body that breaks off settles nothing here: it ends the call's signal, and with it the call.
  return new Promise((resolve, reject) => {
    const pieces = new Pieces(maxBytes, (bytes) => holding?.grow(bytes));
    const stop = () => void request.off("data", read).pause();
    const read = (chunk: Buffer) => {
      try {
        if (pieces.add(chunk)) return;
        stop();
        resolve(undefined);
      } catch (error) {
        stop();
        reject(error);
      }
    };
    request.on("data", read);
    request.once("end", () => {
      // On HTTP/2, a reset with code 0 looks like the end of the body.
      if (!("stream" in request && request.aborted)) resolve(pieces.whole());
    });
  });
}
