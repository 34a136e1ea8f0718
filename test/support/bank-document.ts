/** An OpenAPI document of a bank that has these operations, each named by method and path. */
export function bankDocument(...operations: string[]): Buffer {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    const [method = "", path = ""] = operation.split(" ");
    (paths[path] ??= {})[method.toLowerCase()] = {
      operationId: operation.replace(/\W+/g, "-"),
      summary: `To ${operation}`,
      responses: {
        200: { description: "ok", content: { "application/json": { schema: { type: "object" } } } },
      },
    };
  }
  return Buffer.from(JSON.stringify({ openapi: "3.1.0", info: { title: "Bank", version: "1" }, paths }));
}
