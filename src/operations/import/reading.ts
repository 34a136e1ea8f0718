import type { StyleTable } from "../operation.ts";
import type { DerivedDefinition, ImportProblem } from "./imported.ts";
import type { ImportSource } from "./revision.ts";

/**
 * The version of the code that reads documents. Count it up when more is read of a document than before, or
 * differently: then the same document is imported again.
 */
export const readerVersion = 1;

/** How many problems are kept of an import. */
export const maxKeptProblems = 1_000;

/**
 * Reads a document in a thread of its own. Throws `ImportRefused` for what is none, or leaves nothing to import, and
 * the signal's reason when it aborts. The thread ends with the iteration of `rows`, however that ends, and at once
 * without `wantsRows`.
 */
export type ReadDocument = (document: GivenDocument) => Promise<ReadDocumentResult>;

/** A document as it was given. */
export interface GivenDocument {
  /** Whose search is to find its operations. */
  readonly orgId: string;
  /** As it came. Its memory goes over to the thread: nobody else can read it any more. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** From `grpc` comes a FileDescriptorSet, from all others an OpenAPI document. */
  readonly source: ImportSource;
  /** Where it was found, which its servers may be relative to; undefined if that is not known. */
  readonly url?: string | undefined;
  /** What it is compared with, in the form of `rows`; empty if nothing is known of the service yet. */
  readonly previous: AsyncIterable<RowsPiece> | Iterable<RowsPiece>;
  /** False for a preview: then `rows` is empty. */
  readonly wantsRows: boolean;
  readonly signal: AbortSignal;
}

/** What the document says. */
export interface ReadDocumentResult {
  readonly summary: ImportSummary;
  /** Its operations, then its definitions. The thread waits while nobody asks for the next piece. */
  readonly rows: AsyncIterable<RowsPiece>;
}

/** Some rows: a JSON array of `OperationRow` or of `DefinitionRow`, in UTF-8. Of 256 KiB, or of one larger row. */
export interface RowsPiece {
  readonly of: "operations" | "definitions";
  readonly json: Uint8Array<ArrayBuffer>;
}

/**
 * An operation as it is stored. Its texts hold no U+0000 and no lone surrogates, which Postgres takes in no text, and
 * its path, id and definitions' names at most 1,024 bytes each, which an index takes. What is JSON in it is a text as
 * well, so that it is stored as it is and what is escaped in it stays so.
 */
export interface OperationRow {
  readonly path: string;
  readonly method: string;
  readonly operationId: string | null;
  readonly name: string;
  readonly description: string | null;
  readonly deprecated: boolean;
  readonly scopes: readonly string[];
  /** JSON of the list of `Parameter`. */
  readonly parameters: string;
  /** JSON of `BodyForm`. */
  readonly body: string | null;
  readonly inputSchema: string | null;
  readonly outputSchema: string | null;
  readonly definitionNames: readonly string[];
  /** Empty for what comes with Patchbay: then it says nothing. */
  readonly fingerprint: string;
  /** `searchVector` of it; empty in `previous`, as nothing there is searched. */
  readonly search: string;
}

/** A definition as it is stored. */
export interface DefinitionRow {
  readonly name: string;
  readonly schema: string;
}

/** What is known of a document beside its rows. */
export interface ImportSummary {
  /** Such as `openapi-3.1`, `swagger-2.0` or `grpc`. */
  readonly format: string;
  readonly title: string;
  readonly documentVersion: string | undefined;
  readonly table: StyleTable;
  readonly definition: DerivedDefinition;
  readonly operations: number;
  /** Of all schemas, as they are stored. */
  readonly schemaBytes: number;
  /** The first `maxKeptProblems`. */
  readonly problems: readonly ImportProblem[];
  readonly problemCount: number;
  /** How its operations differ from the previous ones. */
  readonly diff: OperationsDiff;
}

/** How the operations of one description of a service differ from those of another. */
export interface OperationsDiff {
  /** `<METHOD> <path>`, as in the next one. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly ChangedOperation[];
  /** Whether anything was removed, or changed so that callers may have to change. */
  readonly breaking: boolean;
}

/** An operation that is in both and differs. */
export interface ChangedOperation {
  /** `<METHOD> <path>`. */
  readonly operation: string;
  readonly breaking: boolean;
  /** For people: `query parameter "limit" is required now`. */
  readonly what: readonly string[];
}
