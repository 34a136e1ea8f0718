import type { DescribedPaths, Schema } from "../support/documented-server.ts";

const text = { type: "string" } as const;
const integer = { type: "integer" } as const;
const texts = { type: "array", items: text, minItems: 1 } as const;
const object = {
  type: "object",
  properties: { R: integer, G: text },
  required: ["R", "G"],
  additionalProperties: false,
} as const;
const numbers = { type: "array", items: integer, minItems: 1 } as const;
const ofNumbers = { ...object, properties: { R: integer, G: integer } } as const;
const anything = {
  type: "object",
  properties: { deep: { type: "array", items: { ...object, required: ["R"] } } },
} as const;
const json = { "application/json": { schema: anything } };
const bytes = { contentMediaType: "application/octet-stream" } as const;

const inPath = (name: string, form: object) => ({ in: "path", required: true, name, ...form });
const inQuery = (name: string, form: object) => ({ in: "query", name, ...form });
const inHeader = (name: string, form: object) => ({ in: "header", name, ...form });
const ok = { responses: { "200": { description: "What was understood." } } };
const taking = (contentType: string, schema: Schema, encoding?: Record<string, object>) => ({
  requestBody: { required: true, content: { [contentType]: { schema, ...(encoding && { encoding }) } } },
});

/** A service with every way in which OpenAPI has parameters and bodies written. */
export const everyWay = {
  openapi: "3.1.1",
  info: { title: "All ways", version: "1" },
  paths: {
    "/simple/{text}/{list}/{pairs}/{exploded}": {
      get: {
        operationId: "simple",
        ...ok,
        parameters: [
          inPath("text", { schema: text }),
          inPath("list", { schema: texts }),
          inPath("pairs", { schema: object }),
          inPath("exploded", { schema: object, explode: true }),
        ],
      },
    },
    "/label/{list}/{exploded}/x{pairs}": {
      get: {
        operationId: "label",
        ...ok,
        parameters: [
          inPath("list", { schema: texts, style: "label" }),
          inPath("exploded", { schema: numbers, style: "label", explode: true }),
          inPath("pairs", { schema: ofNumbers, style: "label", explode: true }),
        ],
      },
    },
    "/matrix/{text}/{list}/{exploded}/{pairs}/{explodedPairs}": {
      get: {
        operationId: "matrix",
        ...ok,
        parameters: [
          inPath("text", { schema: text, style: "matrix" }),
          inPath("list", { schema: texts, style: "matrix" }),
          inPath("exploded", { schema: texts, style: "matrix", explode: true }),
          inPath("pairs", { schema: object, style: "matrix" }),
          inPath("explodedPairs", { schema: object, style: "matrix", explode: true }),
        ],
      },
    },
    "/json/{inPath}": {
      get: {
        operationId: "json",
        ...ok,
        parameters: [
          inPath("inPath", { content: json }),
          inQuery("inQuery", { content: json }),
          inHeader("X-In-Header", { content: json }),
        ],
      },
    },
    "/query": {
      get: {
        operationId: "query",
        ...ok,
        parameters: [
          inQuery("text", { schema: text, required: true }),
          inQuery("flag", { schema: { type: "boolean" } }),
          inQuery("list[]", { schema: texts }),
          inQuery("joined", { schema: texts, explode: false }),
          inQuery("blanks", { schema: texts, style: "spaceDelimited", explode: false }),
          inQuery("pipes", { schema: texts, style: "pipeDelimited", explode: false }),
          inQuery("pairs", { schema: object, explode: false }),
          inQuery("exploded", { schema: object }),
          inQuery("deep", { schema: object, style: "deepObject", explode: true }),
          inQuery("reserved", { schema: text, allowReserved: true }),
        ],
      },
    },
    "/header": {
      get: {
        operationId: "header",
        ...ok,
        parameters: [
          inHeader("X-Number", { schema: integer, required: true }),
          inHeader("X-List", { schema: numbers }),
          inHeader("X-Pairs", { schema: ofNumbers }),
          inHeader("X-Exploded", { schema: ofNumbers, explode: true }),
        ],
      },
    },
    "/body/json": {
      patch: { operationId: "patch", ...ok, ...taking("application/merge-patch+json", anything) },
    },
    "/body/text": { put: { operationId: "text", ...ok, ...taking("text/plain", text) } },
    "/body/bytes": { put: { operationId: "bytes", ...ok, ...taking("image/png", {}) } },
    "/body/form": {
      post: {
        operationId: "form",
        ...ok,
        ...taking(
          "application/x-www-form-urlencoded",
          {
            type: "object",
            properties: {
              text,
              list: texts,
              whole: object,
              joined: texts,
              blanks: texts,
              deep: object,
              reserved: text,
            },
          },
          {
            joined: { style: "form", explode: false },
            blanks: { style: "spaceDelimited", explode: false },
            deep: { style: "deepObject", explode: true },
            reserved: { allowReserved: true },
          },
        ),
      },
    },
    "/body/parts": {
      post: {
        operationId: "parts",
        ...ok,
        ...taking(
          "multipart/form-data",
          {
            type: "object",
            properties: { text, number: integer, list: texts, whole: object, file: bytes, files: { type: "array", items: bytes } }, // prettier-ignore
            required: ["file"],
          },
          { file: { contentType: "image/png, image/jpeg" } },
        ),
      },
    },
  },
} satisfies DescribedPaths & { openapi: string; info: object };
