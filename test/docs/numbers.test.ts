import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** What a page says of a limit, and where the code sets it. What each limit does has tests with limits of their own. */
// prettier-ignore
const limits: [page: string, says: string, file: string, code: readonly string[]][] = [
  ["docs/concepts.md", "up to 64 calls under way to one origin and 256 in all", "src/outbound/limits.ts", ["callsPerOrigin: 64,", "callsPerShare: 256,"]],
  ["docs/errors.md", "(64 to one origin, 256 in all)", "src/outbound/limits.ts", ["callsPerOrigin: 64,", "callsPerShare: 256,"]],
  ["docs/errors.md", "(1,000, or 64 MiB of bodies)", "src/outbound/limits.ts", ["waitingCalls: 1_000,", "waitingBytes: 64 * 1024 * 1024,"]],
  ["docs/errors.md", "5 s to connect, 30 s to its headers, 30 s between two pieces of its body, 60 s in all", "src/outbound/limits.ts", ["connectMs: 5_000,", "headersMs: 30_000,", "idleMs: 30_000,", "totalMs: 60_000,"]],
  ["docs/errors.md", "more than 10 MiB, inflated, or more than 16 KiB of headers", "src/outbound/limits.ts", ["bodyBytes: 10 * 1024 * 1024,", "headerBytes: 16 * 1024,"]],
  ["proto/patchbay/connections/v1/connection_service.proto", "up to 64 calls under way to one origin, and 256 in all", "src/outbound/limits.ts", ["callsPerOrigin: 64,", "callsPerShare: 256,"]],
  ["docs/errors.md", "yours, or 65 s", "src/pipeline/call-limits.ts", ["timeoutMs: 65_000,"]],
  ["docs/errors.md", "more than 4 MiB", "src/pipeline/call-limits.ts", ["usualBytes = 4 * 1024 * 1024"]],
  ["docs/errors.md", "did not answer within 5 seconds", "src/crypto/unwrap.ts", ["waitMs = 5_000;"]],
  ["docs/vault-keys.md", "50 rows at a time", "src/crypto/reseal.ts", ["batchRows = 50;"]],
  ["docs/vault-keys.md", "within a minute", "src/crypto/key-upkeep.ts", ["everyMs = 60_000;"]],
  ["docs/vault-keys.md", "not used after 5 seconds", "src/db/recent.ts", ["boundMs = 5_000;"]],
  ["docs/concepts.md", "remembered for 5 minutes", "src/crypto/unwrap.ts", ["cacheMs = 5 * 60 * 1000;"]],
  ["docs/root-keys.md", "again about every 3 minutes on each replica", "src/crypto/unwrap.ts", ["cacheMs = 5 * 60 * 1000;", "0.5 + Math.random() * 0.2;"]],
  ["docs/root-keys.md", "further ones are warned of once in 10 seconds", "src/crypto/root-key-warnings.ts", ["quietMs = 10_000;"]],
  ["docs/vault-keys.md", "when they change and once a day", "src/crypto/key-upkeep.ts", ["repeatMs = 24 * 60 * 60 * 1000;"]],
  ["docs/root-keys.md", "(no answer in 3 seconds, a status of 500 or more, a limit of requests) is tried twice more", "src/crypto/root-keys/remote.ts", ["tryMs: 3_000,", "tries = 3;"]],
  ["docs/root-keys.md", "when two thirds of its time are over", "src/crypto/root-keys/vault-token.ts", ["renewAt = 2 / 3;"]],
  ["docs/concepts.md", "a key for up to five seconds", "src/db/recent.ts", ["boundMs = 5_000;"]],
  ["docs/concepts.md", "600 requests a minute", "src/pipeline/public-calls.ts", ["limit: 600,", "windowMs: 60_000"]],
  ["docs/concepts.md", "At most 64 streams without a key", "src/pipeline/public-calls.ts", ["maxStreams = 64;"]],
  ["docs/errors.md", "1,000 streams of changes open", "src/verification/revocations.ts", ["maxStreams = 1_000;"]],
  ["docs/errors.md", "five of its secrets are still good", "src/api-keys/rotation.ts", ["maxLiveSecrets = 5;"]],
  ["docs/concepts.md", "505 bytes of UTF-8 at most", "src/api-keys/import-key.ts", ["maxBytes = 505;"]],
  ["docs/concepts.md", "each 60 seconds, within 10 %", "drizzle/0028_health.sql", ["interval '54 seconds' + random() * interval '12 seconds'"]],
  ["docs/concepts.md", "is remembered for up to five seconds", "src/db/recent.ts", ["boundMs = 5_000;"]],
  ["docs/actions.md", "at most 5,000 values in each part, 32 levels deep, and `path`, `query` and `header` have at most 65,536 characters", "src/calls/action-input.ts", ["maxValues = 5_000;", "maxDepth = 32;", "maxCharacters = 64 * 1024;"]],
  ["docs/guard.md", "used for 5 seconds from when it was asked for", "src/client/guard/answers.ts", ["boundMs = 5_000;"]],
  ["docs/guard.md", "Without a message of the stream for 3 seconds", "src/client/guard/revocation-watch.ts", ["silenceMs = 3_000;"]],
  ["docs/promises.md", "`lastUsedAt` is written within 10 seconds", "src/platform/merged-log.ts", ["flushEveryMs = 10_000;"]],
  ["docs/operating.md", "at most one event an hour for each key and action", "src/verification/misuse-events.ts", ["quietMs = 60 * 60 * 1000;"]],
  ["docs/events.md", "cannot be stored within 3 seconds is answered 503", "src/eventlog/eventlog.ts", ["answerMs = 3_000;"]],
  ["docs/events.md", "at least each 15 seconds", "src/events/subscriptions.ts", ["heartbeatMs = 15_000;"]],
  ["docs/events.md", "takes nothing for 30 seconds is cut", "src/platform/taken-in-time.ts", ["patienceMs = 30_000;"]],
  ["docs/health.md", "due each 60 seconds, within 10 %", "drizzle/0028_health.sql", ["interval '54 seconds' + random() * interval '12 seconds'"]],
  ["docs/health.md", "at most 5 seconds", "src/connections/probe.ts", ["probeTimeoutMs = 5_000;"]],
  ["docs/health.md", "does not begin within 45 seconds", "src/health/sweep.ts", ["claimGoodMs = 45_000;"]],
  ["docs/health.md", "at most 128 probes at a time, 24 of one organisation and 4 of it to one host", "src/health/sweep.ts", ["maxProbes = 128;", "maxProbesPerOrganisation = 24;", "maxProbesPerHost = 4;"]],
  ["docs/health.md", "the last 50 of 30 days", "src/health/kept.ts", ["transitionsMs = 30 *"]],
  ["docs/health.md", "good for seven days", "src/health/sweep.ts", ["farewellsMs = 7 *"]],
  ["docs/health.md", "at least each 15 seconds", "src/health/watch/watches.ts", ["heartbeatMs = 15_000;"]],
  ["docs/health.md", "takes nothing for 30 seconds is cut", "src/platform/taken-in-time.ts", ["patienceMs = 30_000;"]],
  ["docs/health.md", "up to 200 such streams", "src/health/watch/watches.ts", ["maxStreams = 200;"]],
  ["docs/channels.md", "after 90 seconds without a byte", "src/channels/sources/from-message.ts", ["defaultIdleSeconds = 90;"]],
  ["docs/channels.md", "asks each minute", "src/channels/sources/from-message.ts", ["defaultIntervalSeconds = 60;"]],
  ["docs/workers.md", "does not answer within 250 ms", "src/workers/counts-of-primary.ts", ["answerMs = 250;"]],
  ["docs/workers.md", "keep ending within ten seconds, each further one waits longer, up to ten seconds", "src/workers/restarts.ts", ["provenMs = 10_000;", "longestPauseMs = 10_000;"]],
  ["docs/workers.md", "five in a row have ended early", "src/workers/restarts.ts", ["mostFailedStarts = 5;"]],
  ["docs/workers.md", "has not ended 15 seconds after `--drain-seconds`", "src/cli/primary.ts", ["lastWritesMs = 15_000;"]],
  ["docs/workers.md", "open connections of clients (10,000)", "src/net/limits.ts", ["connections: 10_000,"]],
  ["docs/behind-a-proxy.md", "16 KiB of headers and 4 MiB of body", "src/net/limits.ts", ["headerBytes: 16 * 1024,"]],
];

test.each(limits)("%s says “%s”, and the code does", (page, says, file, lines) => {
  expect(readFileSync(page, "utf8").replace(/\n *\/\/ /g, " ")).toContain(says);
  const code = readFileSync(file, "utf8");
  for (const line of lines) expect(code).toContain(line);
});
