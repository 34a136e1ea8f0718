import {
  create,
  createFileRegistry,
  type DescMethod,
  type DescMethodUnary,
  type MessageInitShape,
  setExtension,
} from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptions_IdempotencyLevel as Level,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { Code, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { limits, LimitsSchema, policy, PolicySchema } from "#gen/patchbay/options/v1/options_pb.js";
import { serveContract } from "./serve-contract.ts";

const mebibyte = 1024 * 1024;

function method(name: string, given?: MessageInitShape<typeof LimitsSchema>) {
  const options = create(MethodOptionsSchema, { idempotencyLevel: Level.NO_SIDE_EFFECTS });
  const access = { case: "scope", value: "api:manage" } as const;
  setExtension(options, policy, create(PolicySchema, { access }));
  if (given) setExtension(options, limits, create(LimitsSchema, given));
  return { name, inputType: ".t.Data", outputType: ".t.Data", options };
}

const file = create(FileDescriptorProtoSchema, {
  name: "t.proto",
  package: "t",
  syntax: "proto3",
  messageType: [
    {
      name: "Data",
      field: [{ name: "data", jsonName: "data", number: 1, type: Type.BYTES, label: Label.OPTIONAL }],
    },
  ],
  service: [
    {
      name: "S",
      method: [
        method("Usual"),
        method("Large", { messageBytes: 6 * mebibyte }),
        method("Brief", { deadline: { nanos: 50_000_000 } }),
      ],
    },
  ],
});
const desc = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getService("t.S")!;
const { usual, large, brief } = desc.method;

const transports: readonly [string, (baseUrl: string) => Transport][] = [
  ["Connect", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" })],
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl })],
  ["gRPC-Web", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })],
];

describe.each(["on", "off"] as const)("with the lane %s", (unaryLane) => {
  let served: Awaited<ReturnType<typeof serveContract>>;
  beforeAll(async () => {
    const handle = (_: unknown, { method: { name } }: { method: { name: string } }) =>
      name === "Brief" ? new Promise<never>(() => {}) : {};
    served = await serveContract(desc, handle, unaryLane);
  });
  afterAll(() => served.open.drain(100));

  // Connect alone knows one limit for all formats.
  test.runIf(unaryLane === "on")("a method reads no more JSON than others", async () => {
    const asJson = { "content-type": "application/json", authorization: "Bearer k" };
    const ask = async (length: number) => {
      const body = JSON.stringify({ data: "A".repeat(length) });
      const url = `http://127.0.0.1:${served.port}/t.S/Large`;
      return (await fetch(url, { method: "POST", headers: asJson, body })).json();
    };
    expect(await ask(4 * mebibyte - 12)).toEqual({ data: "" });
    expect(await ask(4 * mebibyte)).toMatchObject({ message: "the message is larger than 4 MiB" });
  });

  describe.each(transports)("over %s", (_, transport) => {
    const ask = (asked: DescMethod | undefined, bytes: number) =>
      transport(`http://127.0.0.1:${served.port}`).unary(
        asked as DescMethodUnary,
        undefined,
        undefined,
        { authorization: "Bearer k" },
        { data: new Uint8Array(bytes) },
      );
    // Beside what the message is framed with.
    const fitting = (bytes: number) => bytes - 16;

    test("a method takes as large a message as it declares, and others the usual", async () => {
      await ask(large, fitting(6 * mebibyte));
      await expect(ask(large, 6 * mebibyte + 1)).rejects.toMatchObject({
        code: Code.ResourceExhausted,
        rawMessage: "the message is larger than 6 MiB",
      });
      await ask(usual, fitting(4 * mebibyte));
      await expect(ask(usual, 4 * mebibyte + 1)).rejects.toMatchObject({
        rawMessage: "the message is larger than 4 MiB",
      });
    });

    test("a call ends with the deadline that its method declares", async () => {
      await expect(ask(brief, 1)).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    });
  });
});
