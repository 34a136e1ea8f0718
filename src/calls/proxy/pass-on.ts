import type { ServerResponse } from "node:http";
import type { StreamReply } from "#src/outbound/streamed-answer.ts";
import type { Response } from "#src/platform/http.ts";
import { passableFields } from "./heads.ts";

/**
 * Passes the answer on as it comes, and no faster than it is read. Resolves when all of it is written; rejects if it
 * breaks off, and then it has to be cut.
 */
export function passOn(
  { status, body, trailers }: StreamReply,
  headers: Readonly<Record<string, string>>,
  response: Response,
): Promise<void> {
  // Both modules' responses take these calls; only their types cannot be called as one.
  const out = response as ServerResponse;
  return new Promise((resolve, reject) => {
    // It failed while nothing listened, as during a look for another credential.
    if (body.errored !== null) return reject(body.errored);
    out.writeHead(status, headers);
    out.on("drain", () => body.resume());
    body.on("error", reject);
    body.on("end", () => {
      const last = passableFields(trailers());
      if (Object.keys(last).length > 0) out.addTrailers(last);
      out.end();
      resolve();
    });
    // A feed may begin long before its first event.
    if (body.readableLength === 0) out.flushHeaders();
    body.on("data", (piece: Buffer) => {
      if (!out.write(piece)) body.pause();
    });
  });
}
