import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import type { Log } from "#src/platform/log.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createUsageLog, type UsageLog } from "#src/platform/usage-log.ts";
import { createApiKeyService, type ApiKeyParts } from "./service.ts";
import { recordUse } from "./store.ts";

/** Keeps the keys of organisations. */
export interface ApiKeys extends Feature {
  /** Uses of secrets, by their hashes: that shows which callers still present an old one. */
  readonly usage: UsageLog;
}

export function createApiKeys(shared: Omit<ApiKeyParts, "usage"> & { log: Log }): ApiKeys {
  const { database, log } = shared;
  const usage = createUsageLog(
    (orgId, uses) => database.record(orgId, (tx) => recordUse(tx, orgId, uses)),
    log,
  );
  return {
    services: [serve(ApiKeyService, createApiKeyService({ ...shared, usage }))],
    usage,
    close: () => usage.close(),
  };
}
