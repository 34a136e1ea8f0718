import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { StyleTable } from "#src/operations/operation.ts";
import { withoutCircles } from "../schemas/circles.ts";
import { complete, type Complete } from "../complete.ts";
import { createDefinitions } from "../schemas/definitions.ts";
import type { Problems } from "../problems.ts";
import { readPaths } from "./read-paths.ts";
import { createReferences } from "../schemas/references.ts";

/** The operations of a document of Swagger 2.0 or OpenAPI 3.0 to 3.2, and the schemas that they share. */
export function readOperations(
  document: JsonObject,
  how: {
    readonly table: StyleTable;
    readonly problems: Problems;
    readonly isOwnServer: (servers: JsonValue | undefined) => boolean;
    readonly swagger: JsonObject | undefined;
  },
): Complete {
  const references = createReferences(document);
  const definitions = createDefinitions({ ...how, references });
  const read = readPaths(document, { ...how, references, definitions });
  return complete(read, withoutCircles(definitions.settle(), how.problems), how.problems);
}
