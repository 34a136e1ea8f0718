import { MessageTooLarge } from "./errors.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { contentTypeOf, targetOf, type Request } from "#src/platform/http.ts";
import type { PageRequest } from "#src/platform/page.ts";

/** More than any form of ours has. */
const mostFormBytes = 16 * 1024;

/** What a browser asks for, its form included. */
export async function readPageRequest(request: Request): Promise<PageRequest> {
  const { method = "", headers } = request;
  const query = new URLSearchParams(targetOf(request).query);
  const form = new URLSearchParams(method === "POST" ? await formOf(request) : "");
  return { method, query, headers, form };
}

async function formOf(request: Request): Promise<string> {
  if (!contentTypeOf(request).startsWith("application/x-www-form-urlencoded")) {
    throw new InvalidRequest("send a form, as application/x-www-form-urlencoded");
  }
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > mostFormBytes) throw new MessageTooLarge(mostFormBytes);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}
