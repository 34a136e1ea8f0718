import { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import type { Change } from "#src/audit/change.ts";
import type { Calls } from "#src/calls/calls.ts";
import type { Connections } from "#src/connections/connections.ts";
import type { Database } from "#src/db/database.ts";
import { createImports } from "#src/operations/import/imports.ts";
import { readDocument } from "#src/operations/reader/read.ts";
import type { Operations } from "#src/operations/operations.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Log } from "#src/platform/log.ts";
import type { Loop } from "#src/platform/loop.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { createAskGrpc } from "./ask-grpc.ts";
import { createImportService } from "./import-service.ts";
import { createRefreshCatalog } from "./refresh.ts";
import { createCatalogService } from "./service.ts";
import { createValidation } from "./validation.ts";
import { createCatalogWatch } from "./watch.ts";

/** Says what connected services offer, and takes in what documents say of that. */
export interface Catalog extends Feature {
  /** Compares daily what services publish of themselves, once it is started. */
  readonly watch: Loop;
}

/** Creates the feature. */
export function createCatalog(shared: {
  database: Database;
  change: Change;
  operations: Operations;
  connections: Pick<Connections, "usable" | "openUnattended" | "integrationNamed">;
  calls: Pick<Calls, "through" | "dialogueThrough" | "checks">;
  outbound: Pick<Outbound, "send" | "checkBaseUrl">;
  environment: Environment;
  log: Log;
  now: () => Date;
}): Catalog {
  const { checkBaseUrl: checkUrl } = shared.outbound;
  const imports = createImports({ ...shared, readDocument, checkUrl });
  const { through, dialogueThrough, checks } = shared.calls;
  const askGrpc = createAskGrpc({ ...shared, dialogueThrough });
  const watch = createCatalogWatch({ ...shared, imports });
  return {
    services: [
      serve(CatalogService, {
        ...createCatalogService(shared),
        ...createImportService({ ...shared, imports, askGrpc }),
        ...createValidation({ ...shared, checks }),
        refreshCatalog: createRefreshCatalog({ ...shared, through, imports }),
      }),
    ],
    watch,
    close: () => watch.stop(),
  };
}
