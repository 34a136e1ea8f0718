import { createApp } from "#src/app.ts";
import { createLog } from "#src/cli/log.ts";
import { localRootKey } from "#src/crypto/root-key.ts";
import { createDatabase } from "#src/db/database.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { tellParent } from "./measured.ts";

const [url = "", rootKey = ""] = process.argv.slice(2);
// Counted as everywhere, and never reached.
const limits = { callsPerMinute: 1e9, maxCallsPerMinute: 1e9, failuresPerMinute: 1e9 };
// The access log is part of what a request costs; its lines go where nobody reads them.
const log = createLog("info", { write: () => undefined });
const app = await createApp(
  {
    environment: "sandbox",
    fourEyesDeletion: false,
    callerServiceSlug: "orchestration",
    legacyPrefixes: [],
    limits,
    rateLimitUrl: undefined,
    outboundAllow: parseOutboundAllow(""),
    corsOrigins: [],
    trustedProxyHops: 0,
  },
  {
    database: createDatabase({ url, log }),
    rootKey: localRootKey(rootKey),
    log,
    now: () => new Date(),
    monotonicNow: () => performance.now(),
  },
);
tellParent((await app.listen("127.0.0.1", 0)).port);
