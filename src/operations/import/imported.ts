import type { JsonObject } from "@bufbuild/protobuf";
import type { AuthMethod, Placeholder } from "#src/integrations/integration.ts";
import type { Operation, StyleTable } from "../operation.ts";

/** What a document says of a service. */
export interface Imported {
  /** Such as `openapi-3.1`, `swagger-2.0` or `grpc`. */
  readonly format: string;
  readonly title: string;
  readonly documentVersion: string | undefined;
  readonly table: StyleTable;
  readonly definition: DerivedDefinition;
  /** In the order of path and method. */
  readonly operations: readonly ImportedOperation[];
  /** The schemas that operations share, by name. They refer to each other as `#/$defs/<name>`. */
  readonly definitions: ReadonlyMap<string, JsonObject>;
  readonly problems: readonly ImportProblem[];
}

/** An operation, and what it needs. */
export interface ImportedOperation extends Operation {
  /** All definitions that its schemas refer to, directly or not. */
  readonly definitionNames: readonly string[];
  /** Differs if anything differs that a caller could notice, in a definition as well. */
  readonly fingerprint: string;
}

/** What a document says of the integration. */
export interface DerivedDefinition {
  readonly name: string;
  readonly baseUrl?: string;
  readonly placeholders?: Readonly<Record<string, Placeholder>>;
  readonly authMethods: readonly AuthMethod[];
}

/** What of a document was left out, or is wrong in what was imported. */
export interface ImportProblem {
  /** A JSON pointer into the document as it was given. */
  readonly pointer: string;
  /** Of a document in YAML or of JSON with line breaks, from 1. */
  readonly line?: number;
  readonly reason: string;
}
