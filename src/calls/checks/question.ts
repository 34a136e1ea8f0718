import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { OperationContract } from "#src/operations/operation.ts";
import type { InputProblem } from "../input-problems.ts";

/** What an operation is called with, as far as it is JSON. */
export type JsonInput = Readonly<Record<Place, JsonObject>> & { readonly body?: JsonValue };

/** Where parameters stand. */
export type Place = "path" | "query" | "header";

/** What came of a check. */
export interface Checked {
  /** None if it fits. */
  readonly problems: readonly InputProblem[];
  /** Why not all of it could be checked; undefined if all was. */
  readonly notChecked?: string | undefined;
}

/** What is checked of an operation: what it is called with, or the JSON that it answers success with. */
export type Question = { readonly input: JsonInput } | { readonly output: Uint8Array };

/** A question, as the thread that checks is asked. */
export interface Asked {
  readonly question: Question;
  /** The number of the contract, by which the thread keeps what it has compiled. */
  readonly id: number;
  /** Present the first time. */
  readonly contract?: OperationContract;
  /** The contracts that will not be asked for again. */
  readonly forgotten: readonly number[];
}

/** What the thread answers, and how long that took. Undefined if it took too long. */
export type Answered = { readonly checked: Checked; readonly tookMs: number } | undefined;
