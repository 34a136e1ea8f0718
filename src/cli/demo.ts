import { create, isMessage } from "@bufbuild/protobuf";
import { createContextValues, createHandlerContext } from "@connectrpc/connect";
import {
  ConnectionService,
  TestConnectionRequestSchema,
  UpsertServiceConnectionRequestSchema,
  UpsertServiceConnectionResponseSchema,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { App } from "#src/app.ts";
import type { Config } from "#src/config/config.ts";
import { newDemo, rememberDemo, reopenDemo, type Demo } from "#src/demo/demo.ts";
import { callKey, type Call, type Caller } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";

/** The slug of the demo's connection. */
export const demoSlug = "custom:echo";

/** The demo of an embedded database: made and connected on the first start, served again on later ones. */
export async function startDemo(
  app: App,
  { dataDir }: Config,
  firstAdmin: Caller | undefined,
  log: Log,
): Promise<Demo | undefined> {
  try {
    return firstAdmin === undefined
      ? await reopenDemo(dataDir)
      : await startFirstDemo(app, dataDir, firstAdmin);
  } catch (error) {
    // Nothing depends on it. Its port may be taken by now, or connections may not call this machine.
    log.warn({ problem: (error as Error).message }, "there is no demo service");
    return undefined;
  }
}

async function startFirstDemo(app: App, dataDir: string, admin: Caller): Promise<Demo> {
  // There is one already if the data folder has served the other environment before.
  const demo = (await reopenDemo(dataDir)) ?? (await newDemo());
  try {
    await connectDemo(app, admin, demo);
    await rememberDemo(dataDir, demo);
    return demo;
  } catch (error) {
    await demo.close();
    throw error;
  }
}

async function connectDemo({ call }: App, admin: Caller, demo: Demo): Promise<void> {
  const { upsertServiceConnection, testConnection } = ConnectionService.method;
  const wanted = { serviceSlug: demoSlug, baseUrl: demo.baseUrl, apiKey: demo.token };
  const answer = await call(
    upsertServiceConnection,
    create(UpsertServiceConnectionRequestSchema, wanted),
    contextFor(upsertServiceConnection, admin, ["connection.create"]),
  );
  // Healthy from the first moment, and not only after the first sweep.
  const id = isMessage(answer, UpsertServiceConnectionResponseSchema) ? answer.connection?.id : undefined;
  await call(
    testConnection,
    create(TestConnectionRequestSchema, { id: id ?? "" }),
    contextFor(testConnection, admin, ["connection.test"]),
  );
}

/** The context of a call that the service makes to itself, on behalf of the key that it has just issued. */
function contextFor(
  method: (typeof ConnectionService.method)[keyof typeof ConnectionService.method],
  caller: Caller,
  auditActions: string[],
) {
  const call: Call = {
    requestId: "first-start",
    authorizationLines: 0,
    caller,
    passedGate: true,
    auditActions,
  };
  return createHandlerContext({
    service: ConnectionService,
    method,
    protocolName: "in-process",
    requestMethod: "POST",
    url: "",
    contextValues: createContextValues().set(callKey, call),
  });
}
