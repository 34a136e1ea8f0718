import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { EndpointSchema, OutputDriftSchema } from "#gen/patchbay/catalog/v1/catalog_pb.js";
import { structOfText } from "#src/json/json-text.ts";
import type { OutputDrift } from "#src/operations/endpoint-store.ts";
import type { OperationContract } from "#src/operations/operation.ts";
import { parametersSchema } from "#src/operations/parameters-schema.ts";
import type { Endpoint } from "#src/operations/service-description.ts";

/** An operation, and what the catalog says of it. */
export interface Offered extends Endpoint, Pick<OperationContract, "parameters" | "body"> {
  readonly description: string | undefined;
  /** Like the next one, with references to the definitions of its service. */
  readonly inputSchema: string | undefined;
  readonly outputSchema: string | undefined;
}

/** An endpoint as it is answered, and all of it in text. */
export interface WrittenEndpoint {
  readonly message: MessageInitShape<typeof EndpointSchema>;
  readonly texts: readonly string[];
}

/** Writes an endpoint; `whole` puts the definitions behind a schema that it refers to. */
export function writtenEndpoint(
  slug: string,
  offered: Offered,
  whole: (schema: string) => string,
  drift: OutputDrift | undefined,
): WrittenEndpoint {
  const { method, path, name, scopes, operationId, deprecated, description, body, parameters } = offered;
  const ofParameters = parametersSchema(parameters);
  const schemas = Object.entries({
    inputSchema: offered.inputSchema,
    outputSchema: offered.outputSchema,
    parametersSchema: ofParameters && JSON.stringify(ofParameters),
  }).flatMap(([member, schema]) => (schema === undefined ? [] : [[member, whole(schema)] as const]));
  const others = {
    ...{ method, path, name, deprecated },
    actionIdentifier: actionIdentifierOf(slug, { method, path, operationId }),
    ...(body && { contentType: body.contentType, bodyRequired: body.required }),
    ...(scopes.length > 0 && { scope: scopes.join(" ") }),
    ...(description !== undefined && { description }),
  };
  return {
    message: {
      ...others,
      ...Object.fromEntries(schemas.map(([member, schema]) => [member, structOfText(schema)])),
      ...(drift && { drift: driftMessage(drift) }),
    },
    texts: [JSON.stringify({ ...others, drift }), ...schemas.flat()],
  };
}

/** What CallAction calls an operation of the service. */
export function actionIdentifierOf(
  slug: string,
  { method, path, operationId }: Pick<Endpoint, "method" | "path" | "operationId">,
): string {
  return `${slug}/${operationId ?? `${method} ${path}`}`;
}

function driftMessage(drift: OutputDrift): MessageInitShape<typeof OutputDriftSchema> {
  const { checked, unfit, lastUnfitAt, lastProblem } = drift;
  return {
    checked: BigInt(checked),
    unfit: BigInt(unfit),
    ...(lastUnfitAt && { lastUnfitAt: timestampFromDate(lastUnfitAt) }),
    ...(lastProblem !== null && { lastProblem }),
  };
}
