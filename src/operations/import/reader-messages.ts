import type { ImportSummary, RowsPiece } from "./reading.ts";

/** What the thread that reads documents is sent. */
export type ToReader =
  /** Some of what the document is compared with; before it is read. */
  | { readonly kind: "previous"; readonly piece: RowsPiece }
  /** Answered with `summary` or `refused`. */
  | {
      readonly kind: "read";
      readonly orgId: string;
      readonly bytes: Uint8Array<ArrayBuffer>;
      readonly url: string | undefined;
    }
  /** Answered with `piece` or `end`. */
  | { readonly kind: "next" };

/** What it answers. */
export type FromReader =
  | { readonly kind: "summary"; readonly summary: ImportSummary }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "piece"; readonly piece: RowsPiece }
  | { readonly kind: "end" };
