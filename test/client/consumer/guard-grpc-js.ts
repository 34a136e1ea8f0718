import { credentials, Metadata, Server, ServerCredentials, type ServerUnaryCall } from "@grpc/grpc-js";
import { ApiKeyService, createGrpcClient, grpcServiceDefinition } from "patchbay/client/grpc-js";
import { createGuard } from "patchbay/guard";
import { guardInterceptor, principalOf } from "patchbay/guard/grpc-js";

const [url = "", key = ""] = process.argv.slice(2);
const guard = createGuard({ baseUrl: url, apiKey: key });
const requirements = { "patchbay.apikeys.v1.ApiKeyService/WhoAmI": { scopes: ["audit:view"] } };
const server = new Server({ interceptors: [guardInterceptor(guard, requirements)] });
// Any service would do; this one is at hand.
const { whoAmI } = grpcServiceDefinition(ApiKeyService);
server.addService(
  { whoAmI },
  {
    whoAmI: (call: ServerUnaryCall<object, object>, callback: (error: null, answer: object) => void) =>
      callback(null, { name: principalOf(call).name }),
  },
);
const port = await new Promise<number>((resolve, reject) =>
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  ),
);
const client = createGrpcClient(ApiKeyService, `127.0.0.1:${port}`, credentials.createInsecure());
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${key}`);
const { name } = await client.whoAmI({}, metadata);
const refusal = await client.whoAmI({}).catch((error: Error) => ({ error: error.message }));
console.log(JSON.stringify({ name, refusal }));
client.close();
// The guard goes on listening for changes, and keeps nothing alive by it.
server.forceShutdown();
