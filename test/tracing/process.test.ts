import { join } from "node:path";
import { expect, test } from "vitest";
import { patchbay, temporaryFolder } from "../cli/patchbay.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { startReceiver } from "./receiver.ts";

const PATCHBAY_ROOT_KEY = Buffer.alloc(32, 1).toString("base64");

test("the variables of OpenTelemetry switch traces on, and a stop sends what is left", async () => {
  await using folder = await temporaryFolder();
  await using database = await createTestDatabase();
  await using receiver = await startReceiver();
  const env = {
    ...{ DATABASE_URL: database.url, PATCHBAY_ROOT_KEY },
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: "x-token=of-the-collector",
  };
  await using service = patchbay(["start", "--port", "0", "--data-dir", join(folder.path, "data")], { env });
  const url = await service.ready();
  await fetch(`${url}/api/auth/me`);
  expect((await service.kill("SIGTERM")).code).toBe(0);
  expect(receiver.spans.map(({ name }) => name)).toContain("patchbay.apikeys.v1.ApiKeyService/WhoAmI");
  expect(receiver.headers[0]).toMatchObject({ "x-token": "of-the-collector" });
});
