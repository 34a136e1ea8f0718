import type { JsonObject } from "@bufbuild/protobuf";
import type { Endpoint } from "./service-description.ts";

/** An operation as its document describes it. Schemas refer to the definitions of its service: `#/$defs/<name>`. */
export interface Operation extends Endpoint {
  readonly description: string | undefined;
  readonly parameters: readonly Parameter[];
  /** Undefined for an operation that takes none. */
  readonly body: BodyForm | undefined;
  /** Of the body as a caller gives it: a form as an object, bytes as base64. */
  readonly inputSchema: JsonObject | undefined;
  /** Of the JSON that answers success. */
  readonly outputSchema: JsonObject | undefined;
}

/** What a request may say beside its body. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly schema: JsonObject;
  /** How lists and objects are written; the usual way of its place if absent. */
  readonly style?: string;
  readonly explode?: boolean;
  /** In a query: characters that have a meaning in URLs are sent as they are. */
  readonly allowReserved?: boolean;
  /** The value is written as JSON, whatever its style. */
  readonly isJson?: boolean;
}

/** How a body is sent. */
export interface BodyForm {
  /** Such as `application/json`, `application/x-www-form-urlencoded` or `multipart/form-data`. */
  readonly contentType: string;
  /** Whether the operation is never called without. */
  readonly required: boolean;
  /** How members of a form are written, by name; as the content type has it for those that are absent. */
  readonly encoding?: Readonly<Record<string, MemberForm>>;
}

/** How one member of a form is written. */
export interface MemberForm extends Pick<Parameter, "style" | "explode" | "allowReserved"> {
  readonly contentType?: string;
  /** Given as base64, sent as bytes. */
  readonly isBytes?: boolean;
}

/** Which document says it: the versions differ in how `label` writes lists without `explode`. */
export type StyleTable = "3.0" | "3.1";

/** What a call of an operation is held to, and by what it is written. Its schemas stand by themselves. */
export interface OperationContract extends Pick<Operation, "parameters" | "body"> {
  readonly table: StyleTable;
  /** JSON Schema 2020-12, as JSON. */
  readonly inputSchema: string | undefined;
  readonly outputSchema: string | undefined;
  /** The schemas that the parameters, body and answer refer to, by name, as JSON. */
  readonly definitions: ReadonlyMap<string, string>;
}
