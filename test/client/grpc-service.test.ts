import { once } from "node:events";
import {
  credentials,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { expect, test } from "vitest";
import {
  Health,
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "#gen/grpc/health/v1/health_pb.js";
import {
  ServerReflection,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from "#gen/grpc/reflection/v1/reflection_pb.js";
import { createGrpcClient, grpcServiceDefinition } from "#src/client/grpc-js.ts";

test("a server stream carries typed messages until its end", async () => {
  await using server = await startServer();
  const client = createGrpcClient(Health, server.address, credentials.createInsecure());
  const statuses: ServingStatus[] = [];
  for await (const update of client.watch({ service: "patchbay" })) statuses.push(update.status);
  expect(statuses).toEqual([ServingStatus.NOT_SERVING, ServingStatus.SERVING]);
  client.close();
});

test("a bidirectional stream answers each message while the others are still to come", async () => {
  await using server = await startServer();
  const client = createGrpcClient(ServerReflection, server.address, credentials.createInsecure());
  const stream = client.serverReflectionInfo();
  for (const host of ["a", "b"]) {
    stream.write({ host, messageRequest: { case: "listServices", value: "" } });
    const [answer] = await once(stream, "data");
    expect(answer).toMatchObject({ validHost: host });
  }
  stream.end();
  await once(stream, "end");
  client.close();
});

test("a deadline ends a call that promises its answer", async () => {
  await using server = await startServer();
  const client = createGrpcClient(Health, server.address, credentials.createInsecure());
  await expect(client.check({ service: "silent" }, { deadline: Date.now() + 50 })).rejects.toThrow(
    "DEADLINE_EXCEEDED",
  );
  client.close();
});

async function startServer(): Promise<AsyncDisposable & { address: string }> {
  const server = new Server();
  server.addService(grpcServiceDefinition(Health), {
    check: () => {},
    list: () => {},
    watch(call: ServerWritableStream<HealthCheckRequest, Partial<HealthCheckResponse>>) {
      call.write({ status: ServingStatus.NOT_SERVING });
      call.write({ status: ServingStatus.SERVING });
      call.end();
    },
  });
  server.addService(grpcServiceDefinition(ServerReflection), {
    serverReflectionInfo(
      call: ServerDuplexStream<ServerReflectionRequest, Partial<ServerReflectionResponse>>,
    ) {
      call.on("data", ({ host }: ServerReflectionRequest) => call.write({ validHost: host }));
      call.on("end", () => call.end());
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => server.forceShutdown() };
}
