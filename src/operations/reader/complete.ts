import { createHash } from "node:crypto";
import type { JsonObject } from "@bufbuild/protobuf";
import { bodyFormOf } from "../forms/body-form.ts";
import { callerSchemaOf } from "../forms/caller-schema.ts";
import { canonicalJson } from "./canonical-json.ts";
import type { Definition } from "./schemas/definitions.ts";
import { ImportRefused } from "../import/errors.ts";
import type { ImportedOperation } from "../import/imported.ts";
import { limits } from "./limits.ts";
import { loosened, widerAmong, withLooseDefinitions } from "./schemas/loosened.ts";
import type { Needs } from "./needs.ts";
import type { Problems } from "./problems.ts";
import type { ReadOperation } from "./openapi/read-operation.ts";

/** What can be imported, and what it refers to. */
export interface Complete {
  readonly operations: readonly ImportedOperation[];
  readonly definitions: ReadonlyMap<string, JsonObject>;
}

/** The operations with all that they refer to. Those that need what is outside of the document are omitted. */
export function complete(
  read: readonly ReadOperation[],
  given: ReadonlyMap<string, Definition>,
  problems: Problems,
): Complete {
  const wider = widerAmong(given);
  const definitions = withLooseDefinitions(given, wider);
  const used = new Set<string>();
  let bytes = 0;
  const operations = read.flatMap((one) => {
    const operation = completed(one, definitions, wider, problems);
    if (operation === undefined) return [];
    for (const name of operation.definitionNames) used.add(name);
    bytes += JSON.stringify(operation).length;
    if (bytes > limits.importedBytes) {
      throw new ImportRefused("the document says too much by references: what its operations share would be repeated too often"); // prettier-ignore
    }
    return [operation];
  });
  const kept = [...definitions].filter(([name]) => used.has(name)).sort(([a], [b]) => (a < b ? -1 : 1));
  return { operations, definitions: new Map(kept.map(([name, { schema }]) => [name, schema])) };
}

function completed(
  { operation, body, needs, pointer }: ReadOperation,
  definitions: ReadonlyMap<string, Definition>,
  wider: ReadonlySet<string>,
  problems: Problems,
): ImportedOperation | undefined {
  const closures: Closure[] = [];
  const resolve = (ref: string) => definitions.get(ref.slice("#/$defs/".length))?.schema;
  /** The schema, if what it refers to is all there and not too much. */
  const bounded = <T>(schema: JsonObject | undefined, its: Needs | undefined, what: string, otherwise: T) => {
    if (schema === undefined || its === undefined) return schema;
    const closure = closureOf(its, definitions);
    if (closure.bytes + JSON.stringify(schema).length > limits.schemaBytes) {
      problems.add(pointer, `the schema of its ${what} is, with what it refers to, larger than ${limits.schemaBytes / 1024} KiB, so it is not checked`); // prettier-ignore
      return otherwise;
    }
    closures.push(closure);
    return loosened(schema, its, wider);
  };
  const form = body && bodyFormOf(body, resolve);
  const whole = {
    ...operation,
    body: form,
    parameters: operation.parameters.map((parameter, index) => ({
      ...parameter,
      schema: bounded(parameter.schema, needs.parameters[index], `parameter ${parameter.name}`, {}) ?? {},
    })),
    inputSchema: bounded(form && callerSchemaOf(form, body.schema, resolve), body?.needs, "body", undefined),
    outputSchema: bounded(operation.outputSchema, needs.output, "answer", undefined),
  };
  const [outside] = closures.flatMap((closure) => [...closure.outside]);
  if (outside !== undefined) {
    problems.add(pointer, `needs $ref ${JSON.stringify(outside).slice(0, 200)}, which is outside of the document, so it is omitted`); // prettier-ignore
    return undefined;
  }
  const definitionNames = [...new Set(closures.flatMap(({ names }) => [...names]))].sort();
  return { ...whole, definitionNames, fingerprint: fingerprintOf(whole, definitionNames, definitions) };
}

interface Closure {
  readonly names: ReadonlySet<string>;
  readonly outside: ReadonlySet<string>;
  readonly bytes: number;
}

/** All that is referred to, directly or not; no further than a schema may be large. */
function closureOf(needs: Needs, definitions: ReadonlyMap<string, Definition>): Closure {
  const names = new Set(needs.names);
  const outside = new Set(needs.outside);
  let bytes = 0;
  for (const name of names) {
    const definition = definitions.get(name);
    if (definition === undefined) continue;
    bytes += definition.bytes;
    if (bytes > limits.schemaBytes) break;
    for (const next of definition.needs.names) names.add(next);
    for (const ref of definition.needs.outside) outside.add(ref);
  }
  return { names, outside, bytes };
}

function fingerprintOf(
  operation: object,
  definitionNames: readonly string[],
  definitions: ReadonlyMap<string, Definition>,
): string {
  const hash = createHash("sha256").update(canonicalJson(operation));
  for (const name of definitionNames) hash.update(`\n${name} ${definitions.get(name)?.hash}`);
  return hash.digest("base64url");
}
