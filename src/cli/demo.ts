import { create, isMessage, type DescMethod } from "@bufbuild/protobuf";
import { createContextValues, createHandlerContext } from "@connectrpc/connect";
import {
  ConnectionService,
  TestConnectionRequestSchema,
  UpsertServiceConnectionRequestSchema,
  UpsertServiceConnectionResponseSchema,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import {
  ChannelService,
  CreateChannelRequestSchema,
  CreateChannelResponseSchema,
} from "#gen/patchbay/events/v1/channel_service_pb.js";
import type { Config } from "#src/config/config.ts";
import { newDemo, rememberDemo, reopenDemo, type Demo } from "#src/demo/demo.ts";
import { callKey, type Call, type Caller } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { CallUnary } from "#src/pipeline/call-unary.ts";

/** The slug of the demo's connection. */
export const demoSlug = "custom:echo";

/** The demo, and the channel that a first start makes beside it, so that there is somewhere to send an event to. */
export interface StartedDemo extends Demo {
  readonly channelId?: string | undefined;
}

/** Opens the service for calls that it makes to itself; the caller closes it. */
export type OpenService = () => Promise<AsyncDisposable & { readonly call: CallUnary }>;

/** The demo of an embedded database: made and connected on the first start, served again on later ones. */
export async function startDemo(
  open: OpenService,
  { dataDir }: Config,
  firstAdmin: Caller | undefined,
  log: Log,
): Promise<StartedDemo | undefined> {
  try {
    return firstAdmin === undefined
      ? await reopenDemo(dataDir)
      : await startFirstDemo(open, dataDir, firstAdmin);
  } catch (error) {
    // Nothing depends on it. Its port may be taken by now, or connections may not call this machine.
    log.warn({ problem: (error as Error).message }, "there is no demo service");
    return undefined;
  }
}

async function startFirstDemo(open: OpenService, dataDir: string, admin: Caller): Promise<StartedDemo> {
  // There is one already if the data folder has served the other environment before.
  const demo = (await reopenDemo(dataDir)) ?? (await newDemo());
  try {
    await using service = await open();
    await connectDemo(service.call, admin, demo);
    await rememberDemo(dataDir, demo);
    return { ...demo, channelId: await makeChannel(service.call, admin) };
  } catch (error) {
    await demo.close();
    throw error;
  }
}

async function connectDemo(call: CallUnary, admin: Caller, demo: Demo): Promise<void> {
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

/** A channel that takes events of whoever has a key, as the one that the first start shows. Answers its id. */
async function makeChannel(call: CallUnary, admin: Caller): Promise<string | undefined> {
  const { createChannel } = ChannelService.method;
  const answer = await call(
    createChannel,
    create(CreateChannelRequestSchema, {
      name: "Demo",
      source: { case: "webhook", value: {} },
      receiver: { authentication: "bearer" },
    }),
    contextFor(createChannel, admin, ["channel.create"]),
  );
  return isMessage(answer, CreateChannelResponseSchema) ? answer.channel?.id : undefined;
}

/** The context of a call that the service makes to itself, on behalf of the key that it has just issued. */
function contextFor(method: DescMethod, caller: Caller, auditActions: string[]) {
  const call: Call = {
    requestId: "first-start",
    authorizationLines: 0,
    caller,
    passedGate: true,
    auditActions,
  };
  return createHandlerContext({
    service: method.parent,
    method,
    protocolName: "in-process",
    requestMethod: "POST",
    url: "",
    contextValues: createContextValues().set(callKey, call),
  });
}
