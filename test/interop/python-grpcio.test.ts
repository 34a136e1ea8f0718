import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import {
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from "#gen/grpc/health/v1/health_pb.js";
import { WhoAmIResponseSchema } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { startService } from "../support/service.ts";
import { run } from "./support.ts";

// Debian's, since python3-grpcio is for its own Python only.
const python = "/usr/bin/python3";

test("Python's grpcio asks who it is, reads a refusal with its details, and checks and watches the health", async ({
  skip,
}) => {
  const found = await run(python, ["-c", "import grpc"]).catch(() => undefined);
  skip(found?.status !== 0, "python3-grpcio is not installed");

  await using service = await startService();
  const script = join(import.meta.dirname, "grpcio_client.py");
  const { status, stdout, stderr } = await run(python, [
    script,
    new URL(service.url).host,
    service.org.secret,
  ]);
  expect({ status, stderr }).toStrictEqual({ status: 0, stderr: "" });
  const { whoAmI, stranger, check, watch } = JSON.parse(stdout);

  expect(fromBinary(WhoAmIResponseSchema, bytes(whoAmI.answer))).toMatchObject({
    organizationId: service.org.orgId,
    apiKeyId: service.org.apiKeyId,
  });
  expect(stranger).toMatchObject({ code: "UNAUTHENTICATED", details: "missing or invalid Bearer" });
  const { details } = fromBinary(StatusSchema, bytes(stranger.status));
  expect(anyUnpack(details[0]!, ErrorInfoSchema)).toMatchObject({
    domain: "patchbay",
    reason: "INVALID_BEARER",
  });
  for (const message of [check.answer, watch]) {
    expect(fromBinary(HealthCheckResponseSchema, bytes(message)).status).toBe(
      HealthCheckResponse_ServingStatus.SERVING,
    );
  }
});

function bytes(base64: string): Buffer {
  return Buffer.from(base64, "base64");
}
