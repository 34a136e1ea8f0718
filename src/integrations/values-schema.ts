import type { JsonObject } from "@bufbuild/protobuf";
import { present } from "#src/platform/present.ts";
import type { AuthMethod, CredentialField, Integration, Placeholder } from "./integration.ts";
import { placeholdersOf } from "./recipe.ts";

/** JSON Schema (2020-12) of what a connection gives for the method, by which a form can be made. */
export function valuesSchema(integration: Integration, method: AuthMethod): JsonObject {
  const { placeholders = {}, optionalHeaders = {} } = integration;
  const placed = placeholdersOf(integration, method).flatMap((name) => {
    const placeholder = placeholders[name];
    return placeholder === undefined ? [] : [{ name, rule: placeholder, schema: ofPlaceholder(placeholder) }];
  });
  const given = [
    ...placed,
    ...method.fields.map((field) => ({ name: field.name, rule: field, schema: ofField(field) })),
  ];
  const headers = Object.entries(optionalHeaders).map(([name, pattern]) => [
    name,
    { type: "string", pattern },
  ]);
  const needed = given.filter(
    ({ rule }) => rule.default === undefined && !("optional" in rule && rule.optional),
  );
  return {
    type: "object",
    properties: Object.fromEntries([
      ...given.map(({ name, schema }) => [name, schema]),
      ...headers,
    ]) as JsonObject,
    required: needed.map(({ name }) => name),
    additionalProperties: false,
  };
}

function ofPlaceholder({ note, example, ...rule }: Placeholder): JsonObject {
  return present({ ...ofRule(rule), description: note, examples: [example] });
}

function ofField({ label, secret, ...rule }: CredentialField): JsonObject {
  return present({ ...ofRule(rule), title: label, writeOnly: secret || undefined });
}

/** A value that a list and a pattern are both about is one that either of them has. */
function ofRule({
  pattern,
  enum: list,
  default: usual,
}: Pick<CredentialField, "pattern" | "enum" | "default">) {
  const isEither = pattern !== undefined && list !== undefined;
  return present({
    type: "string",
    ...(isEither ? { anyOf: [{ pattern }, { enum: [...list] }] } : { pattern, enum: list && [...list] }),
    default: usual,
  });
}
