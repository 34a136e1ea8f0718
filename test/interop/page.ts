import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { createPatchbayClient, reasonOf } from "#src/client/web.ts";

/** What the page works with. */
export interface PageTask {
  readonly url: string;
  readonly key: string;
  readonly narrowKey: string;
  readonly connectionId: string;
}

/** Calls Patchbay from a page in every way that a page can, and says how each went. */
async function callEverything({ url, key, narrowKey, connectionId }: PageTask) {
  const patchbay = createPatchbayClient({ baseUrl: url, apiKey: key });
  const narrow = createPatchbayClient({ baseUrl: url, apiKey: narrowKey });
  const present: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const raw = { baseUrl: url, interceptors: [present] };
  const json = createConnectTransport(raw);
  const httpGet = createConnectTransport({ ...raw, useHttpGet: true });
  const grpcWeb = createGrpcWebTransport(raw);
  const rest = async (method: string, path: string, body?: object) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const reply = await fetch(url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    return { status: reply.status, id: reply.headers.get("x-request-id"), body: await reply.json() };
  };
  const whoAmI = (transport: typeof json) => async () =>
    (await createClient(ApiKeyService, transport).whoAmI({})).apiKeyId;

  return {
    client: await outcome(async () => (await patchbay.apiKeys.whoAmI({})).apiKeyId),
    call: await outcome(async () => {
      const call = { service: "custom:ledger", method: "GET", path: "/balance" };
      return (await patchbay.connections.callService(call)).body.value;
    }),
    refusal: await outcome(() => narrow.connections.listConnections({})),
    connectJson: await outcome(whoAmI(json)),
    connectGet: await outcome(whoAmI(httpGet)),
    grpcWeb: await outcome(whoAmI(grpcWeb)),
    watchConnect: await outcome(() => firstHealth(json)),
    watchGrpcWeb: await outcome(() => firstHealth(grpcWeb)),
    restPatch: await outcome(() =>
      rest("PATCH", `/api/service-connections/${connectionId}`, { active: true }),
    ),
    simpleRequest: await outcome(async () => (await fetch(`${url}/healthz`)).status),
  };
}

async function firstHealth(transport: ReturnType<typeof createConnectTransport>) {
  const cancel = new AbortController();
  const seen: number[] = [];
  try {
    for await (const { status } of createClient(Health, transport).watch({}, { signal: cancel.signal })) {
      seen.push(status);
      cancel.abort();
    }
  } catch (error) {
    if (ConnectError.from(error).code !== Code.Canceled) throw error;
  }
  return seen;
}

async function outcome(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    const { code, rawMessage, metadata } = ConnectError.from(error);
    return { code, message: rawMessage, reason: reasonOf(error), requestId: metadata.get("x-request-id") };
  }
}

const task = (await (await fetch("/task")).json()) as PageTask;
const result = await callEverything(task).catch((error: unknown) => ({ failed: String(error) }));
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
