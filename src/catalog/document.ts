import type { HandlerContext } from "@connectrpc/connect";
import { createHash } from "node:crypto";
import { ImportRefused } from "#src/operations/import/errors.ts";
import type { ImportDocument } from "#src/operations/import/imports.ts";
import type { Outbound, OutboundReply, OutboundRequest } from "#src/outbound/outbound.ts";
import type { QueryPair } from "#src/outbound/path.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { inTurns, type LongWork } from "#src/platform/in-turns.ts";

/** The largest document that is read. */
export const maxDocumentBytes = 16 * 1024 * 1024;

/** What a service is asked for its document with. */
export const documentHeaders = { accept: "application/json, application/yaml;q=0.9, */*;q=0.5" };

/** How much of a document is copied, and its digest computed, in one go. */
const takenAtOnce = 1024 * 1024;

/** What waits for a document, and what it may take of memory. */
type Fetching = Pick<OutboundRequest, "share" | "signal" | "hold" | "timeoutMs">;

/** What a fetch for the call may take. */
export function fetchingFor(context: HandlerContext): Fetching {
  const { holding } = callOf(context);
  const timeoutMs = context.timeoutMs();
  return {
    share: callerOf(context).orgId,
    signal: context.signal,
    hold: (bytes) => holding?.grow(bytes),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
}

/** A document as it was given. */
export async function documentOf(
  given: Uint8Array,
  from: Pick<ImportDocument, "source" | "sourceUrl">,
): Promise<ImportDocument> {
  // In memory of its own: that of the request is not this one's to hand over.
  const bytes = new Uint8Array(given.length);
  return { ...from, bytes, digest: `sha256:${await inTurns(copied(given, bytes))}` };
}

/** Fetches a document from anywhere, without any credential. */
export async function fetchDocument(
  outbound: Pick<Outbound, "send">,
  url: string,
  fetching: Fetching,
): Promise<ImportDocument> {
  const { origin, path, query } = placeOf(url);
  const reply = await outbound.send({
    ...fetching,
    ...{ lane: "documents", baseUrl: origin, method: "GET", path, query },
    headers: documentHeaders,
    maxAnswerBytes: maxDocumentBytes,
  });
  // A query may hold a token, and is stored nowhere.
  return fetchedDocument(reply, { source: "url", sourceUrl: origin + path });
}

/** The document that was answered. */
export function fetchedDocument(
  { status, body }: OutboundReply,
  from: Pick<ImportDocument, "source" | "sourceUrl">,
): Promise<ImportDocument> {
  if (status === 200) return documentOf(body, from);
  const isMoved = status >= 300 && status < 400;
  throw new ImportRefused(
    `the document could not be fetched: its server answered with status ${status}` +
      (isMoved ? ", and redirects are not followed; give the URL that it is at" : ""),
    { metadata: { upstream_status: String(status) } },
  );
}

function placeOf(url: string): { origin: string; path: string; query: QueryPair[] } {
  const [, origin, path = "", query = ""] =
    /^(https?:\/\/[^/?#]+)([^?#]*)(?:\?([^#]*))?(?:#.*)?$/is.exec(url) ?? [];
  if (origin === undefined) {
    throw new ImportRefused(
      "url: give an absolute http:// or https:// URL, such as https://bank.example/openapi.json",
    );
  }
  return { origin, path, query: [...new URLSearchParams(query)] };
}

/** Answers the digest of what it copies. */
function* copied(given: Uint8Array, into: Uint8Array): LongWork<string> {
  const hash = createHash("sha256");
  for (let at = 0; at < given.length; at += takenAtOnce) {
    const piece = given.subarray(at, at + takenAtOnce);
    into.set(piece, at);
    hash.update(piece);
    yield;
  }
  return hash.digest("hex");
}
