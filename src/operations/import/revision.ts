import type { StyleTable } from "../operation.ts";
import type { DerivedDefinition, ImportProblem } from "./imported.ts";

/** Names an import of a service. */
export interface Revision {
  readonly orgId: string;
  readonly slug: string;
  /** Counts up with each import; 0 for what comes with Patchbay. */
  readonly number: number;
}

/** Where a document came from. */
export type ImportSource = "document" | "url" | "service" | "grpc";

/** What is kept of an import beside its operations. */
export interface KeptRevision extends Revision {
  /** `sha256:…` of the document. */
  readonly digest: string;
  /** The version of the code that read it. */
  readonly reader: number;
  readonly format: string;
  readonly source: ImportSource;
  readonly sourceUrl: string | undefined;
  readonly title: string;
  readonly documentVersion: string | undefined;
  readonly table: StyleTable;
  readonly documentBytes: number;
  readonly schemaBytes: number;
  readonly operations: number;
  readonly problemCount: number;
  /** What the document says of the integration; undefined if that is not the organisation's own. */
  readonly definition: DerivedDefinition | undefined;
  readonly createdAt: Date;
}

/** With what was left out, or is wrong. */
export interface NewRevision extends KeptRevision {
  readonly problems: readonly ImportProblem[];
}
