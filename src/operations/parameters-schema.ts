import type { JsonObject } from "@bufbuild/protobuf";
import type { Parameter } from "./operation.ts";

/** JSON Schema of an object with the members `path`, `query` and `header`; undefined without parameters. */
export function parametersSchema(parameters: readonly Parameter[]): JsonObject | undefined {
  if (parameters.length === 0) return undefined;
  const places = [...new Set(parameters.map((parameter) => parameter.in))];
  return objectSchema(
    places.map((place) => {
      const here = parameters.filter((parameter) => parameter.in === place);
      const required = here.filter((parameter) => parameter.required);
      return [place, objectSchema(here.map(({ name, schema }) => [name, schema]), required.map(({ name }) => name))]; // prettier-ignore
    }),
    places.filter((place) => parameters.some((one) => one.in === place && one.required)),
  );
}

function objectSchema(properties: [string, JsonObject][], required: string[]): JsonObject {
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    ...(required.length > 0 && { required }),
  };
}
