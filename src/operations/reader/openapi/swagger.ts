import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject, membersOf } from "#src/json/object.ts";

/** What a document of Swagger 2.0 says of its service and of signing in to it, as OpenAPI 3 says it. */
export function swaggerService(document: JsonObject): JsonObject {
  const { info, security, securityDefinitions, paths } = document;
  const schemes = Object.entries(membersOf(securityDefinitions));
  return {
    openapi: "3.0.4",
    info: info ?? null,
    servers: serversOf(document),
    ...(security !== undefined && { security }),
    components: {
      securitySchemes: Object.fromEntries(schemes.map(([name, scheme]) => [name, schemeOf(scheme)])),
    },
    paths: Object.fromEntries(
      Object.entries(membersOf(paths)).map(([path, item]) => [path, onlySecurity(item)]),
    ),
  };
}

/** Where a node of `swaggerService` is in the document itself. */
export function swaggerPointer(pointer: string): string {
  if (pointer.startsWith("/servers")) return "/host";
  return pointer.replace(/^\/components\/securitySchemes/, "/securityDefinitions");
}

function serversOf({ host, basePath, schemes }: JsonObject): JsonValue {
  const path = typeof basePath === "string" ? basePath : "";
  if (typeof host !== "string") return path === "" ? [] : [{ url: path }];
  const given = Array.isArray(schemes) ? schemes.filter((scheme) => typeof scheme === "string") : [];
  return (given.length > 0 ? given : ["https"]).map((scheme) => ({ url: `${scheme}://${host}${path}` }));
}

const flows: Readonly<Record<string, string>> = {
  application: "clientCredentials",
  accessCode: "authorizationCode",
};

function schemeOf(scheme: JsonValue): JsonValue {
  if (!isObject(scheme)) return scheme;
  if (scheme["type"] === "basic") return { ...scheme, type: "http", scheme: "basic" };
  if (scheme["type"] !== "oauth2") return scheme;
  const { flow, authorizationUrl, tokenUrl, scopes = {}, ...others } = scheme;
  const given = typeof flow === "string" ? (flows[flow] ?? flow) : "unknown";
  const urls = {
    ...(authorizationUrl !== undefined && { authorizationUrl }),
    ...(tokenUrl !== undefined && { tokenUrl }),
  };
  return { ...others, flows: { [given]: { ...urls, scopes } } };
}

function onlySecurity(item: JsonValue): JsonObject {
  const operations = Object.entries(membersOf(item)).filter(([, one]) => isObject(one));
  return Object.fromEntries(
    operations.map(([method, one]) => {
      const { security } = membersOf(one);
      return [method, security === undefined ? {} : { security }];
    }),
  );
}
