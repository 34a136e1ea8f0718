import type { JsonObject } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";
import { CannotImport, followed, type DocumentReading } from "./document-reading.ts";
import { ImportRefused } from "#src/operations/import/errors.ts";
import { limits } from "../limits.ts";
import { readOperation, type GivenOperation, type ReadOperation } from "./read-operation.ts";
import { at, type Place } from "../schemas/references.ts";

const callable = ["get", "head", "options", "post", "put", "patch", "delete"];
const notCallable = ["trace", "query"];
const otherMembers = ["$ref", "summary", "description", "servers", "parameters", "additionalOperations"];

/** The operations of a document, in the order of path and method. */
export function readPaths(document: JsonObject, reading: DocumentReading): ReadOperation[] {
  const paths = at({ value: document, pointer: "", shared: false }, "paths");
  const given = Object.keys(membersOf(paths.value)).flatMap((path) =>
    operationsAt(path, at(paths, path), reading),
  );
  if (given.length > limits.operations) {
    throw new ImportRefused(`the document has more than ${limits.operations} operations; split it, and import each part as a service of its own`); // prettier-ignore
  }
  let parameters = 0;
  const read = given.flatMap((one) => {
    const operation = omittedIfBroken(one.operation.pointer, reading, () =>
      readOperation(one, document["security"], reading),
    );
    parameters += operation?.needs.parameters.length ?? 0;
    if (parameters > limits.nodes)
      throw new ImportRefused("the document's operations share too many parameters");
    return operation === undefined ? [] : [operation];
  });
  read.sort(
    (a, b) => compare(a.operation.path, b.operation.path) || compare(a.operation.method, b.operation.method),
  );
  return withUniqueIds(read, reading);
}

function operationsAt(path: string, given: Place, reading: DocumentReading): GivenOperation[] {
  if (path.startsWith("x-")) return [];
  const found = omittedIfBroken(given.pointer, reading, () => {
    requirePath(path);
    return followed(given, reading);
  });
  if (found === undefined) return [];
  if (!isObject(found.value)) {
    reading.problems.add(found.pointer, "is no path item, so it is omitted");
    return [];
  }
  // For a reference, what it leads to was found.
  for (const method of found.pointer === given.pointer ? [] : callable) {
    const beside = at(given, method);
    if (beside.value !== undefined)
      reading.problems.add(beside.pointer, "is beside a $ref, which is read instead, so it is omitted");
  }
  for (const { pointer, method } of unknownIn(found)) {
    const why = callable.includes(method.toLowerCase())
      ? "methods are written in lower case"
      : `${method} requests cannot be made by calls`;
    reading.problems.add(pointer, `${why}, so it is omitted`);
  }
  return callable
    .filter((method) => at(found, method).value !== undefined)
    .map((method) => ({ method: method.toUpperCase(), path, item: found, operation: at(found, method) }));
}

/** What looks like an operation and is none that calls can make. */
function unknownIn(item: Place): { readonly pointer: string; readonly method: string }[] {
  const members = Object.keys(membersOf(item.value));
  const known = [...callable, ...otherMembers];
  const further = at(item, "additionalOperations");
  const named = members.filter(
    (name) => !known.includes(name) && (notCallable.includes(name) || !name.startsWith("x-")),
  );
  return [
    ...named.map((name) => ({ pointer: at(item, name).pointer, method: name.toUpperCase().slice(0, 50) })),
    ...Object.keys(membersOf(further.value)).map((name) => ({ pointer: at(further, name).pointer, method: name.slice(0, 50) })), // prettier-ignore
  ];
}

function requirePath(path: string): void {
  if (!path.startsWith("/")) throw new CannotImport("is a path that does not begin with a slash");
  if (Buffer.byteLength(path) > limits.path) throw new CannotImport(`is longer than ${limits.path} bytes`);
  if (path.split("/").length - 1 > limits.segments)
    throw new CannotImport(`has more than ${limits.segments} segments`);
  if (/[?#]/.test(path)) throw new CannotImport("has a query or a fragment, which a path cannot");
  if (/\p{Cc}|\p{Cs}/u.test(path)) throw new CannotImport("has characters that no URL can hold");
  if (!/^(?:[^{}]|\{[^{}/]+\})*$/.test(path)) throw new CannotImport("has braces that hold no name");
}

/** An operation that cannot be imported leaves the others as they are. */
function omittedIfBroken<T>(pointer: string, { problems }: DocumentReading, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CannotImport)) throw error;
    problems.add(pointer, `${error.message}, so it is omitted`);
    return undefined;
  }
}

/** An id that two operations have would name either. */
function withUniqueIds(read: readonly ReadOperation[], { problems }: DocumentReading): ReadOperation[] {
  const times = new Map<string, number>();
  for (const { operation } of read) {
    if (operation.operationId !== undefined) times.set(operation.operationId, (times.get(operation.operationId) ?? 0) + 1); // prettier-ignore
  }
  return read.map((one) => {
    const { operationId } = one.operation;
    if (operationId === undefined || times.get(operationId) === 1) return one;
    problems.add(`${one.pointer}/operationId`, `another operation has the id ${operationId}, so it is named by its method and path`); // prettier-ignore
    const { method, path, name } = one.operation;
    const unnamed = { operationId: undefined, name: name === operationId ? `${method} ${path}` : name };
    return { ...one, operation: { ...one.operation, ...unnamed } };
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
