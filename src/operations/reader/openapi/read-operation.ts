import type { JsonValue } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import type { Operation } from "#src/operations/operation.ts";
import { CannotImport, proseOf, type DocumentReading } from "./document-reading.ts";
import { limits } from "../limits.ts";
import type { Needs } from "../needs.ts";
import { readAnswer } from "./read-answer.ts";
import { readBody, type ReadBody } from "./read-body.ts";
import { readParameters } from "./read-parameters.ts";
import { swaggerBody } from "./read-swagger.ts";
import { at, type Place } from "../schemas/references.ts";

/** An operation, and what each of its schemas refers to. */
export interface ReadOperation {
  readonly operation: Omit<Operation, "body" | "inputSchema">;
  readonly body: ReadBody | undefined;
  readonly pointer: string;
  readonly needs: { readonly parameters: readonly Needs[]; readonly output: Needs };
}

/** An operation as it is in the document. */
export interface GivenOperation {
  readonly method: string;
  readonly path: string;
  /** What its path says for all of its methods. */
  readonly item: Place;
  readonly operation: Place;
}

/** Reads one operation; `security` is what the document says for all. Throws CannotImport. */
export function readOperation(
  given: GivenOperation,
  security: JsonValue | undefined,
  reading: DocumentReading,
): ReadOperation {
  const { method, path, item, operation: place } = given;
  if (!isObject(place.value)) throw new CannotImport("is no operation");
  const { operationId, summary, description, deprecated, security: own, servers } = place.value;
  if (!reading.isOwnServer(servers ?? membersOf(item.value)["servers"])) {
    // Calls go to the connection's base URL, where another service may answer at the same path.
    throw new CannotImport("is at another server than the document's first");
  }
  const parameters = readParameters({ item, operation: place, path }, reading);
  const body =
    reading.swagger === undefined
      ? readBody(place, reading)
      : swaggerBody(place, [{ ...item, shared: true }, place], reading);
  const answer = readAnswer(place, reading);
  const id = usableId(operationId, place, reading);
  return {
    operation: {
      method,
      path,
      name: proseOf(summary, 200) ?? id ?? `${method} ${path}`,
      operationId: id,
      description: proseOf(description, 4_000),
      deprecated: deprecated === true,
      scopes: scopesOf(own ?? security),
      parameters: parameters.map(({ parameter }) => parameter),
      outputSchema: answer.schema,
    },
    body,
    pointer: place.pointer,
    needs: { parameters: parameters.map(({ needs }) => needs), output: answer.needs },
  };
}

function usableId(
  given: JsonValue | undefined,
  place: Place,
  { problems }: DocumentReading,
): string | undefined {
  if (given === undefined) return undefined;
  if (typeof given === "string" && given.length <= limits.operationId && /^[!-~]+$/.test(given)) return given;
  const { pointer } = at(place, "operationId");
  problems.add(pointer, "is no id that calls can name, so the operation is named by its method and path");
  return undefined;
}

/** The scopes of the first way to sign in. */
function scopesOf(security: JsonValue | undefined): string[] {
  const [first] = Array.isArray(security) ? security : [];
  const scopes = [...new Set(Object.values(membersOf(first)).flat())];
  const unusable = scopes.find((scope) => typeof scope !== "string" || !/^[!-~]{1,200}$/.test(scope));
  // Without the scope, whoever may call the others could call this one.
  if (unusable !== undefined)
    throw new CannotImport(`needs ${JSON.stringify(unusable).slice(0, 200)}, which is no scope`);
  if (scopes.length > limits.scopes) throw new CannotImport(`needs more than ${limits.scopes} scopes`);
  return scopes.filter((scope) => typeof scope === "string");
}
