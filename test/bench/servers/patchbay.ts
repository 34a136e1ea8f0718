import { createApp } from "#src/app.ts";
import { createLog } from "#src/cli/log.ts";
import { makeObjectsYoung } from "#src/cli/young-memory.ts";
import { readConfig } from "#src/config/config.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import { tellParent } from "./measured.ts";

// As the command starts it.
makeObjectsYoung();
const [url = "", rootKey = ""] = process.argv.slice(2);
// Counted as everywhere, and never reached.
const limits = {
  rateLimitPerMinute: 1e9,
  maxRateLimitPerMinute: 1e9,
  failedAuthenticationsPerMinute: 1e9,
};
// The access log is part of what a request costs; its lines go where nobody reads them.
const log = createLog("info", { write: () => undefined });
const config = { ...readConfig({ outboundAllow: "127.0.0.0/8" }), ...limits };
const app = await createApp(config, {
  database: createDatabase({ url, log }),
  rootKey: localRootKey(rootKey),
  tls: undefined,
  log,
  now: () => new Date(),
  monotonicNow: () => performance.now(),
});
const { port } = await app.listen("127.0.0.1", 0);
app.beReady();
if (process.env["BENCH_SWEEP"] !== undefined) app.loops.health.start();
tellParent(port);
