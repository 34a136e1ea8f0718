import { once } from "node:events";
import { createServer as createHttp1 } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";

/** A service that answers WhoAmI to `key` and refuses every other one, over h2c and over HTTP/1.1. */
export async function startStub(key: string, domain = "patchbay"): Promise<Stub> {
  const routes = (router: ConnectRouter) => {
    router.service(ApiKeyService, {
      whoAmI(_, { requestHeader }) {
        if (requestHeader.get("authorization") === `Bearer ${key}`)
          return { name: "ci", scopes: ["api:manage"] };
        const info = { reason: "INVALID_BEARER", domain };
        throw new ConnectError("invalid api key", Code.Unauthenticated, undefined, [
          { desc: ErrorInfoSchema, value: info },
        ]);
      },
    });
  };
  const h2c = createHttp2(connectNodeAdapter({ routes })).listen(0, "127.0.0.1");
  const http1 = createHttp1(connectNodeAdapter({ routes })).listen(0, "127.0.0.1");
  await Promise.all([once(h2c, "listening"), once(http1, "listening")]);
  return {
    grpcAddress: `127.0.0.1:${(h2c.address() as AddressInfo).port}`,
    webUrl: `http://127.0.0.1:${(http1.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      http1.closeAllConnections();
      http1.close();
      h2c.close();
    },
  };
}

interface Stub extends AsyncDisposable {
  readonly grpcAddress: string;
  readonly webUrl: string;
}
