import type { JsonObject } from "@bufbuild/protobuf";

/** The tag of the pages. */
export const pageTag = { name: "Pages", description: "What load balancers and tools ask, without a key." };

const failure = { $ref: "#/components/schemas/Failure" };

/** What the OpenAPI document says of the pages beside the methods (`pages.ts`). */
export const pagePaths: Readonly<Record<string, JsonObject>> = {
  "/healthz": {
    get: page("healthz", "Says that the process answers.", {
      200: answer("The process answers.", status("ok")),
    }),
  },
  "/readyz": {
    get: page("readyz", "Says whether the service takes calls.", {
      200: answer("It takes calls.", status("ready")),
      503: answer("It takes none: it is starting or stopping, or its database does not answer.", failure),
    }),
  },
  "/openapi.json": {
    get: page("openapi", "Answers this document.", {
      200: answer("The document.", { type: "object", required: ["openapi", "info", "paths"] }),
      304: { description: "The caller has it already: it sent the document's ETag as If-None-Match." },
      429: { $ref: "#/components/responses/TooManyRequests" },
    }),
  },
};

const proxyMethods = ["get", "put", "post", "delete", "options", "head", "patch"];

/** What the document says of the proxy, which takes any method (`src/calls/proxy`). */
export const proxyPaths: Readonly<Record<string, JsonObject>> = {
  "/api/connections/{connection}/proxy/{path}": Object.fromEntries(
    proxyMethods.map((method) => [method, proxied(method)]),
  ),
};

function proxied(method: string): JsonObject {
  return {
    operationId: `proxy_${method}`,
    tags: ["ConnectionService"],
    summary: "Passes the request on to the connected service, with the stored credential.",
    description:
      "Bodies of any kind stream in both directions. The query is the service's. `x-patchbay-source` says whose " +
      "answer it is. Needs the scope `connections:use`.",
    parameters: [
      pathParameter("connection", "The connection's slug or id."),
      pathParameter(
        "path",
        "Appended to the connection's base URL as it is; it may have slashes, or be left out.",
      ),
    ],
    responses: {
      default: {
        description: "The service's answer, or a failure of Patchbay's.",
        headers: {
          "x-request-id": { $ref: "#/components/headers/x-request-id" },
          "x-patchbay-source": {
            description: "Whose answer it is.",
            required: true,
            schema: { enum: ["upstream", "patchbay"] },
          },
        },
        content: { "*/*": {} },
      },
    },
  };
}

function pathParameter(name: string, description: string): JsonObject {
  return { name, in: "path", required: true, description, schema: { type: "string" } };
}

function page(operationId: string, summary: string, responses: JsonObject): JsonObject {
  return { operationId, tags: [pageTag.name], summary, security: [], responses };
}

function answer(description: string, schema: JsonObject): JsonObject {
  return {
    description,
    headers: { "x-request-id": { $ref: "#/components/headers/x-request-id" } },
    content: { "application/json": { schema } },
  };
}

function status(value: string): JsonObject {
  return { type: "object", required: ["status"], properties: { status: { const: value } } };
}
