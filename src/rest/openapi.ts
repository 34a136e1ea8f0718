import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  type DescService,
  getOption,
  hasOption,
  type JsonObject,
  toJson,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";
import { ReasonSchema } from "#gen/patchbay/errors/v1/errors_pb.js";
import { limits, policy, PolicySchema } from "#gen/patchbay/options/v1/options_pb.js";
import { answerComponents, failureAnswers, successHeaders } from "./answers.ts";
import { callLimitsOf } from "#src/pipeline/call-limits.ts";
import { takesIdempotencyKey } from "#src/pipeline/policy.ts";
import { type Binding, restRoutes } from "./binding.ts";
import { commentOf } from "#src/platform/comments.ts";
import { type StatusesOfReasons, statusesOf } from "./failures.ts";
import { hasFields, takesText } from "./fields.ts";
import { pagePaths, pageTag, proxyPaths } from "./page-paths.ts";
import { isRequired, neededIn } from "./rules.ts";
import { createSchemas, type Schemas } from "./schemas.ts";
import type { WholeField } from "./whole-body.ts";

/**
 * The OpenAPI 3.1 document of services, from the same bindings that serve them.
 *
 * Descriptions and statuses of failures need descriptors with source info, which generated code drops: take them from
 * a `buf build` image.
 */
export function openApiOf(
  services: readonly DescService[],
  version: string,
  reasons: DescEnum = ReasonSchema,
): JsonObject {
  const schemas = createSchemas();
  const statuses = statusesOf(reasons);
  const paths: Record<string, JsonObject> = { ...pagePaths, ...proxyPaths };
  for (const binding of restRoutes(services)) {
    // OpenAPI has no word for "any method".
    if (binding.httpMethod === "*") continue;
    const operation = operationOf(binding, schemas, statuses);
    (paths[pathOf(binding)] ??= {})[binding.httpMethod.toLowerCase()] = operation;
  }
  const { schemas: failures, ...answers } = answerComponents(statuses);
  return {
    openapi: "3.1.0",
    info: {
      title: "Patchbay",
      version,
      description,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "The service that answered this document." }],
    tags: [...services.map((service) => ({ name: service.name, description: commentOf(service) })), pageTag],
    security: [{ apiKey: [] }],
    paths: sorted(paths),
    components: {
      securitySchemes: { apiKey: { type: "http", scheme: "bearer", description: "An API key, `qe_sk_…`." } },
      parameters: headerParameters,
      ...answers,
      schemas: sorted({ ...schemas.named, ...failures }),
    },
  };
}

const description = `Keeps the connections and API keys of an organisation's services.

Send a key as \`Authorization: Bearer …\`, and never in a URL. Bodies are JSON in UTF-8, at most 4 MiB where an operation says nothing else, nested at \
most 100 levels deep, with at most 10,000 members of objects and 40,000 values in all beside the \`json\` of a call, and names of at most 65,536 characters. A field has the one form that its schema says, and null only where it clears something; what is \
not set is left out. Field names may also be spelled as in the contracts (\`act_as_user_id\`).

Answers hold what was asked for in \`data\`. Failures are \`{"error": "…"}\`, for people; the header \
\`x-error-reason\` is for programs. Later versions add fields to answers, values to enums, and reasons: clients \
must expect ones that they do not know. Answers of 1 KiB and more are compressed with gzip or br, as \`Accept-Encoding\` \
asks, but for those that show a new secret.
`.trim();

/** Tags in a list (RFC 9110, 8.8.3). */
const tagsPattern = String.raw`^(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*$`;

const headerParameters: Record<string, JsonObject> = {
  "x-request-id": {
    name: "x-request-id",
    in: "header",
    description:
      "Names the call in the service's log and audit events: at most 64 letters, digits, `.`, `_` and `-`. " +
      "Anything else is replaced by a new id.",
    schema: { type: "string" },
  },
  "Idempotency-Key": {
    name: "Idempotency-Key",
    in: "header",
    description:
      "Names the request for 24 hours: a retry with the same header has no second effect. " +
      "Visible ASCII characters, of the caller's own choice.",
    schema: { type: "string", pattern: "^[!-~]{1,255}$" },
  },
  "If-None-Match": {
    name: "If-None-Match",
    in: "header",
    description:
      "The `ETag` of an answer that the caller has. If it is still the same, it is not sent again.",
    schema: { type: "string", pattern: tagsPattern },
  },
};

function operationOf(binding: Binding, schemas: Schemas, statuses: StatusesOfReasons): JsonObject {
  const { method, index, status } = binding;
  const comment = commentOf(method);
  const access = getOption(method, policy);
  const headers = [
    "x-request-id",
    ...(takesIdempotencyKey(binding.method) ? ["Idempotency-Key"] : []),
    ...(binding.hasTag ? ["If-None-Match"] : []),
  ];
  const parameters = [
    ...pathParameters(binding, schemas),
    ...queryParameters(binding, schemas),
    ...headers.map((name) => ({ $ref: `#/components/parameters/${name}` })),
  ];
  const requestBody = requestBodyOf(binding, schemas);
  return {
    operationId: `${method.parent.name}_${method.name}${index === 0 ? "" : `_${index + 1}`}`,
    tags: [method.parent.name],
    summary: /^.*?\.(?=\s|$)/s.exec(comment)?.[0].replaceAll("\n", " ") ?? method.name,
    description: comment,
    ...(access.access.case === "public" && { security: [] }),
    "x-patchbay-policy": toJson(PolicySchema, access, { useProtoFieldName: true }),
    parameters,
    ...(requestBody && { requestBody }),
    responses: {
      [status]: {
        description: "Success.",
        headers: successHeaders(binding),
        content: { "application/json": { schema: answerOf(binding, schemas) } },
      },
      ...(binding.hasTag && {
        304: { description: "What the caller has is still the same.", headers: successHeaders(binding) },
      }),
      ...failureAnswers(binding, statuses),
    },
  };
}

function answerOf({ method, responseBody, bare }: Binding, schemas: Schemas): JsonObject {
  const whole = responseBody
    ? schemas.ofField(responseBody, "output")
    : schemas.reference(method.output, "output");
  const mayBeUnset = responseBody?.presence === Presence.EXPLICIT && !isRequired(responseBody);
  const shown = mayBeUnset ? { anyOf: [whole, { type: "null" }] } : whole;
  return bare ? shown : { type: "object", required: ["data"], properties: { data: shown } };
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
  const needed = neededIn(method.input);
  return leaves(method.input)
    .filter((fields) => fields[0] !== body)
    .filter((fields) => !variables.some((bound) => bound.every((field, index) => field === fields[index])))
    .map((fields) => {
      const name = fields.map((field) => field.jsonName).join(".");
      const isNeeded = fields.length === 1 && needed.has(fields[0]!);
      return parameter("query", name, schemas.ofField(fields.at(-1)!, "input"), isNeeded);
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

function requestBodyOf(binding: Binding, schemas: Schemas): JsonObject | undefined {
  const { method, wholeBody } = binding;
  const json = jsonBodyOf(binding, schemas);
  if (json === undefined) return undefined;
  const { messageBytes } = callLimitsOf(method);
  const words = [
    wholeBody && wholeBodyInWords(wholeBody),
    hasOption(method, limits) && `At most ${messageBytes} bytes.`,
  ].filter((text) => typeof text === "string");
  return {
    ...(words.length > 0 && { description: words.join(" ") }),
    required: json.required,
    content: {
      "application/json": { schema: json.schema },
      // Any other.
      ...(wholeBody && { "*/*": {} }),
    },
  };
}

function wholeBodyInWords({ field, declared, marks }: WholeField): string {
  const inJson = marks.length === 0 ? "" : `, and JSON with ${marks.join(" or ")} in it,`;
  return (
    `${declared.description} A body of another type than JSON${inJson} is taken as it is for \`${field.jsonName}\`: ` +
    "then all else is given in the query."
  );
}

interface JsonBody {
  readonly required: boolean;
  readonly schema: JsonObject;
}

function jsonBodyOf(binding: Binding, schemas: Schemas): JsonBody | undefined {
  const { method, body, mask, variables } = binding;
  if (body === undefined) return undefined;
  if (body !== "*") {
    return { required: neededIn(method.input).has(body), schema: schemas.ofField(body, "input") };
  }
  const elsewhere = [mask ?? [], ...variables.filter((fields) => fields.length === 1)].flat();
  const schema = {
    ...schemas.ofMessage(method.input, "input", elsewhere),
    ...(mask && { minProperties: 1 }),
  };
  const isElsewhere = (part: DescField | DescOneof) => part.kind === "field" && elsewhere.includes(part);
  // A choice that must be made needs a body to make it in.
  const isChosen = mask !== undefined || "oneOf" in schema;
  const required = isChosen || [...neededIn(method.input)].some((part) => !isElsewhere(part));
  return { required, schema };
}

function sorted<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}
