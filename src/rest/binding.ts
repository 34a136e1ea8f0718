import {
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { FieldMaskSchema, MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import { METHODS } from "node:http";
import { http } from "#gen/google/api/annotations_pb.js";
import type { HttpRule } from "#gen/google/api/http_pb.js";
import { rest } from "#gen/patchbay/options/v1/options_pb.js";
import { hasFields } from "./fields.ts";
import { byPrecedence, parseTemplate, shapeOf, type Template } from "./template.ts";
import { wholeFieldOf, type WholeField } from "./whole-body.ts";

/** One HTTP method and path that reaches an RPC. */
export interface Binding {
  readonly method: DescMethodUnary;
  /** Which of the method's rules it is; the main one is 0. */
  readonly index: number;
  /** The HTTP method; `*` for any that no other binding of the path names. */
  readonly httpMethod: string;
  readonly template: Template;
  /** For each variable of the template, the fields on the way to the one that it sets. */
  readonly variables: readonly (readonly DescField[])[];
  /** What the body holds: the whole message, one of its fields, or nothing. */
  readonly body: "*" | DescField | undefined;
  /** The field that a body is which is no message in JSON. */
  readonly wholeBody: WholeField | undefined;
  /** The update mask of a PATCH, which is filled with the names of the body's fields and not given itself. */
  readonly mask: DescField | undefined;
  /** The field that is answered instead of the whole message. */
  readonly responseBody: DescField | undefined;
  /** Answered without the `data` envelope. */
  readonly bare: boolean;
  /** Answers have a tag, and are not sent to callers that have them. */
  readonly hasTag: boolean;
  readonly status: number;
}

/**
 * The REST routes of services, in order of precedence.
 *
 * Throws one error that lists every fault, so that a service with an ambiguous or impossible route never starts.
 */
export function restRoutes(services: readonly DescService[]): readonly Binding[] {
  const faults: string[] = [];
  const routes = new Map<string, Binding>();
  for (const method of services.flatMap((service) => service.methods)) {
    if (!hasOption(method, http)) continue;
    const main = getOption(method, http);
    for (const [index, rule] of [main, ...main.additionalBindings].entries()) {
      const path = rule.pattern.case === "custom" ? rule.pattern.value.path : (rule.pattern.value ?? "");
      const fault = (text: string) => faults.push(`${String(method)} ${JSON.stringify(path)}: ${text}`);
      if (index > 0 && rule.additionalBindings.length > 0) fault("nests additional_bindings");
      const template = templateOf(path, fault);
      if (template === undefined) continue;
      const binding = { ...bind(method, rule, template, fault), index };
      const key = `${binding.httpMethod} ${shapeOf(template)}`;
      if (routes.has(key)) fault(`is the same route as one of ${String(routes.get(key)!.method)}`);
      routes.set(key, binding);
    }
  }
  if (faults.length > 0) throw new Error(`these REST routes cannot be served:\n- ${faults.join("\n- ")}`);
  return [...routes.values()].sort((a, b) => byPrecedence(a.template, b.template));
}

type Fault = (text: string) => void;

function templateOf(path: string, fault: Fault): Template | undefined {
  try {
    return parseTemplate(path);
  } catch (error) {
    fault((error as Error).message);
    return undefined;
  }
}

function bind(method: DescMethod, rule: HttpRule, template: Template, fault: Fault): Omit<Binding, "index"> {
  const { input, output } = method;
  const { bare, successStatus, etag } = getOption(method, rest);
  const httpMethod =
    rule.pattern.case === "custom" ? rule.pattern.value.kind : rule.pattern.case!.toUpperCase();

  if (method.methodKind !== "unary") fault("belongs to a stream");
  if (httpMethod !== "*" && !METHODS.includes(httpMethod)) fault(`${httpMethod} is no HTTP method`);
  // A browser sends GET from any page and link, and everybody repeats it at will.
  if (["GET", "HEAD", "*"].includes(httpMethod) && method.idempotency !== Idempotency.NO_SIDE_EFFECTS) {
    fault(`${httpMethod} needs idempotency_level = NO_SIDE_EFFECTS`);
  }
  if (rule.body !== "" && ["GET", "HEAD", "DELETE"].includes(httpMethod)) fault(`${httpMethod} has no body`);
  if (
    successStatus !== 0 &&
    (successStatus < 200 || successStatus > 299 || [204, 205].includes(successStatus))
  ) {
    fault(`success_status ${successStatus} is not one of success with a body`);
  }

  if (etag && httpMethod !== "GET") fault(`answers to ${httpMethod} have no ETag that anybody asks about`);

  const variables = template.variables.map(({ field, multi }) => variableOf(input, field, multi, fault));
  const oneofs = variables.flatMap((fields) => fields.at(-1)?.oneof ?? []);
  if (new Set(oneofs).size < oneofs.length) fault("binds two fields of one oneof");

  const body = rule.body === "*" ? "*" : topLevel(input, rule.body, "body", fault);
  if (variables.some((fields) => fields.length === 1 && fields[0] === body))
    fault("binds one field to path and body");
  const responseBody = topLevel(output, rule.responseBody, "response_body", fault);
  const status = successStatus || 200;
  return {
    method: method as DescMethodUnary,
    httpMethod,
    template,
    variables,
    body,
    wholeBody: body === "*" ? wholeFieldOf(input, fault) : undefined,
    mask: httpMethod === "PATCH" && body === "*" ? input.fields.find(isUpdateMask) : undefined,
    responseBody,
    bare,
    hasTag: etag,
    status,
  };
}

function isUpdateMask({ name, message }: DescField): boolean {
  return name === "update_mask" && message?.typeName === FieldMaskSchema.typeName;
}

function topLevel(message: DescMessage, name: string, option: string, fault: Fault): DescField | undefined {
  const field = message.fields.find((candidate) => candidate.name === name);
  if (name !== "" && field === undefined)
    fault(`${option} names ${name}, which ${message.name} does not have`);
  return field;
}

function variableOf(input: DescMessage, path: string, multi: boolean, fault: Fault): DescField[] {
  const fields: DescField[] = [];
  let message: DescMessage | undefined = input;
  for (const name of path.split(".")) {
    const field: DescField | undefined = message?.fields.find((candidate) => candidate.name === name);
    if (field === undefined) {
      fault(`{${path}} names no field of ${input.name}`);
      return [];
    }
    fields.push(field);
    message = hasFields(field) ? field.message : undefined;
  }
  const { fieldKind, scalar } = fields.at(-1)!;
  if (fieldKind !== "scalar" && fieldKind !== "enum") fault(`{${path}} is not a single scalar`);
  else if (multi && scalar !== ScalarType.STRING)
    fault(`{${path}} takes several segments, so it must be a string`);
  return fields;
}
