import type { GivenDocument, ImportSummary, RowsPiece } from "../import/reading.ts";

/** A document, without what it is compared with. */
export type DocumentToRead = Pick<GivenDocument, "orgId" | "bytes" | "source" | "url">;

/** What the thread that reads documents is sent. */
export type ToReader =
  /** Some of what the document is compared with; before it is read. */
  | { readonly kind: "previous"; readonly piece: RowsPiece }
  /** Answered with `summary` or `refused`. */
  | { readonly kind: "read"; readonly document: DocumentToRead }
  /** Answered with `piece` or `end`. */
  | { readonly kind: "next" };

/** What it answers. */
export type FromReader =
  | { readonly kind: "summary"; readonly summary: ImportSummary }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "piece"; readonly piece: RowsPiece }
  | { readonly kind: "end" };
