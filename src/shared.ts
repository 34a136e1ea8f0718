import { loadAuditKey } from "#src/crypto/audit-key.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { requireRootKeys } from "#src/crypto/rewrap.ts";
import { createKeyring } from "#src/crypto/keyring.ts";
import type { Config } from "#src/config/config.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import { createTimedRootKey } from "#src/crypto/timed-root-key.ts";
import type { Database } from "#src/db/database.ts";
import { createEventLog } from "#src/eventlog/eventlog.ts";
import { createChange } from "#src/idempotency/change.ts";
import { meterResources } from "#src/metrics/resources.ts";
import type { Tls } from "#src/net/servers.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { observedOutbound } from "#src/outbound/observed.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { createByteBudget } from "#src/platform/byte-budget.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import { createPublicUrl } from "#src/platform/public-url.ts";
import { createLimiters } from "#src/ratelimit/limiters.ts";
import type { Together } from "#src/ratelimit/together.ts";
import type { Tracing } from "#src/platform/tracing.ts";

/** What the service is given beside its settings. */
export interface AppParts {
  /** A migrated database. */
  readonly database: Database;
  readonly rootKey: RootKey;
  /** Opens what it wrapped, while one root key takes the place of another. */
  readonly secondRootKey?: RootKey | undefined;
  /** Undefined for clear text. */
  readonly tls: Tls | undefined;
  readonly log: Log;
  /** How this process counts together with other workers; undefined if it is no worker. */
  readonly together?: Together | undefined;
  /** Undefined if no traces are sent anywhere. */
  readonly tracing?: Tracing | undefined;
  readonly now: () => Date;
  /** Milliseconds of a clock that is never set: what may be remembered for a time must not live longer by it. */
  readonly monotonicNow: () => number;
}

/** What every feature is given, and takes from it what it needs. */
export type Shared = Awaited<ReturnType<typeof createShared>>;

/** Builds what the features share. What of it must be closed is, with `opened`. */
export async function createShared(
  config: Config,
  parts: AppParts & { readonly meter: Meter },
  opened: AsyncDisposableStack,
) {
  const { log, database, now, meter } = parts;
  const timed = createTimedRootKey(meter);
  const rootKeys = {
    rootKey: timed(parts.rootKey),
    secondRootKey: parts.secondRootKey && timed(parts.secondRootKey),
  };
  const pepper = await loadPepper(database, rootKeys.rootKey, now, rootKeys.secondRootKey);
  const auditKey = await loadAuditKey({ database, ...rootKeys, now });
  await requireRootKeys({ database, ...rootKeys });
  const limiters = await createLimiters({ ...config, together: parts.together, log, now, meter });
  opened.defer(() => limiters.callLimiter.close());
  const allow = parseOutboundAllow(config.outboundAllow);
  const outbound = observedOutbound(createOutbound({ allow }), { allow, meter, tracing: parts.tracing });
  opened.defer(() => outbound.close());
  const keyring = createKeyring({ ...parts, ...rootKeys });
  const budget = createByteBudget(config.memoryBudgetMib * 1024 * 1024, () => performance.now());
  meterResources(meter, { database, budget, tracing: parts.tracing });
  return {
    ...config,
    ...parts,
    // Not the settings of these names.
    ...rootKeys,
    pepper,
    auditKey,
    keyring,
    eventLog: await createEventLog({ ...config, ...parts, keyring }),
    change: createChange({ database, pepper, now }),
    ...limiters,
    outbound,
    publicUrl: createPublicUrl(config.publicUrl, parts.tls !== undefined),
    budget,
  };
}
