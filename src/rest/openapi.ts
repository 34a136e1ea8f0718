import {
  type DescField,
  type DescMessage,
  type DescService,
  getOption,
  type JsonObject,
  toJson,
} from "@bufbuild/protobuf";
import { ReasonSchema } from "#gen/patchbay/errors/v1/errors_pb.js";
import { policy, PolicySchema } from "#gen/patchbay/options/v1/options_pb.js";
import { type Binding, restRoutes } from "./binding.ts";
import { commentOf } from "./comments.ts";
import { hasFields, takesText } from "./fields.ts";
import { createSchemas, isRequired, type Schemas } from "./schemas.ts";

/**
 * The OpenAPI 3.1 document of services, from the same bindings that serve them.
 *
 * Descriptions need descriptors with source info, which generated code drops: take them from a `buf build` image.
 */
export function openApiOf(services: readonly DescService[], version: string): JsonObject {
  const schemas = createSchemas();
  const paths: Record<string, JsonObject> = {};
  for (const binding of restRoutes(services)) {
    // OpenAPI has no word for "any method".
    if (binding.httpMethod === "*") continue;
    (paths[pathOf(binding)] ??= {})[binding.httpMethod.toLowerCase()] = operationOf(binding, schemas);
  }
  return {
    openapi: "3.1.0",
    info: { title: "Patchbay", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    tags: services.map((service) => ({ name: service.name, description: commentOf(service) })),
    security: [{ apiKey: [] }],
    paths: sorted(paths),
    components: {
      securitySchemes: { apiKey: { type: "http", scheme: "bearer" } },
      responses: { Error: errorResponse },
      schemas: sorted(schemas.named),
    },
  };
}

const errorResponse: JsonObject = {
  description: "The call failed.",
  headers: {
    "x-error-reason": {
      description: "Why, in a form that programs may rely on.",
      schema: { enum: ReasonSchema.values.slice(1).map((value) => value.name.replace("REASON_", "")) },
    },
  },
  content: {
    "application/json": {
      schema: {
        type: "object",
        required: ["error"],
        properties: { error: { type: "string", description: "Why, in words for people." } },
      },
    },
  },
};

function operationOf(binding: Binding, schemas: Schemas): JsonObject {
  const { method, index, responseBody, bare, status } = binding;
  const comment = commentOf(method);
  const access = getOption(method, policy);
  const shown = responseBody
    ? schemas.ofField(responseBody, "output")
    : schemas.reference(method.output, "output");
  const enveloped = { type: "object", required: ["data"], properties: { data: shown } };
  const parameters = [...pathParameters(binding, schemas), ...queryParameters(binding, schemas)];
  const requestBody = requestBodyOf(binding, schemas);
  return {
    operationId: `${method.parent.name}_${method.name}${index === 0 ? "" : `_${index + 1}`}`,
    tags: [method.parent.name],
    summary: /^.*?\.(?=\s|$)/s.exec(comment)?.[0].replaceAll("\n", " ") ?? method.name,
    description: comment,
    ...(access.access.case === "public" && { security: [] }),
    "x-patchbay-policy": toJson(PolicySchema, access, { useProtoFieldName: true }),
    ...(parameters.length > 0 && { parameters }),
    ...(requestBody && { requestBody }),
    responses: {
      [status]: {
        description: "Success.",
        content: { "application/json": { schema: bare ? shown : enveloped } },
      },
      "4XX": { $ref: "#/components/responses/Error" },
      "5XX": { $ref: "#/components/responses/Error" },
    },
  };
}

function pathOf({ template }: Binding): string {
  const segments = template.segments.map((segment, index) =>
    typeof segment === "string" ? `{${parameterAt(template, index)}}` : encodeURIComponent(segment.literal),
  );
  return `/${segments.join("/")}${template.verb === undefined ? "" : `:${template.verb}`}`;
}

/** The name of the parameter for a wildcard: its variable's, which one of several shares with a number. */
function parameterAt({ variables }: Binding["template"], index: number): string {
  const variable = variables.find(({ from, to }) => from <= index && index < to);
  if (variable === undefined) return `segment.${index}`;
  return variable.to - variable.from === 1 ? variable.field : `${variable.field}.${index - variable.from}`;
}

function pathParameters({ template, variables }: Binding, schemas: Schemas): JsonObject[] {
  return template.segments.flatMap((segment, index) => {
    if (typeof segment !== "string") return [];
    const variable = template.variables.findIndex(({ from, to }) => from <= index && index < to);
    const schema = variable < 0 ? { type: "string" } : schemas.ofField(variables[variable]!.at(-1)!, "input");
    return [parameter("path", parameterAt(template, index), schema, true)];
  });
}

function queryParameters({ method, body, variables }: Binding, schemas: Schemas): JsonObject[] {
  if (body === "*") return [];
  return leaves(method.input)
    .filter((fields) => fields[0] !== body)
    .filter((fields) => !variables.some((bound) => bound.every((field, index) => field === fields[index])))
    .map((fields) => {
      const name = fields.map((field) => field.jsonName).join(".");
      return parameter("query", name, schemas.ofField(fields.at(-1)!, "input"), isRequired(fields.at(-1)!));
    });
}

function parameter(
  place: string,
  name: string,
  { description, ...schema }: JsonObject,
  required: boolean,
): JsonObject {
  return { name, in: place, required, ...(description !== undefined && { description }), schema };
}

/** The ways to the fields that a query can set. A message inside itself is followed once. */
function leaves(message: DescMessage, way: readonly DescField[] = []): DescField[][] {
  return message.fields.flatMap((field) => {
    const fields = [...way, field];
    if (takesText(field)) return [fields];
    const isCycle = way.some(({ parent }) => parent === field.message) || message === field.message;
    return hasFields(field) && !isCycle ? leaves(field.message, fields) : [];
  });
}

function requestBodyOf({ method, body, variables }: Binding, schemas: Schemas): JsonObject | undefined {
  if (body === undefined) return undefined;
  const bound = variables.flatMap((fields) => (fields.length === 1 ? fields : []));
  const schema =
    body === "*" ? schemas.ofMessage(method.input, "input", bound) : schemas.ofField(body, "input");
  const isEmpty = body === "*" && Object.keys(schema.properties ?? {}).length === 0;
  const required = body === "*" ? schema.required !== undefined : isRequired(body);
  return isEmpty ? undefined : { required, content: { "application/json": { schema } } };
}

function sorted<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}
