import { createInterface } from "node:readline";
import { startOAuth } from "../../support/oauth-grants.ts";

/**
 * A process of its own that calls through a connection, for tests with several of them. Each line that it reads is a
 * round: how many calls there are at once, and what time it is. It answers how each of them ended.
 */
const { url, rootKey, orgId, id } = JSON.parse(process.argv[2] ?? "") as Record<string, string>;
if (url === undefined || rootKey === undefined || orgId === undefined || id === undefined) {
  throw new Error("say where and what");
}
let at = new Date();
const replica = startOAuth({ url, rootKey, now: () => at });
process.stdout.write("ready\n");

for await (const line of createInterface(process.stdin)) {
  const { callers, now } = JSON.parse(line) as { callers: number; now: string };
  at = new Date(now);
  // As a replica knows it that was asked a moment ago.
  const known = await replica.find(orgId, id);
  const ends = await Promise.all(
    Array.from({ length: callers }, async () => {
      try {
        return (await replica.tokensOf(await replica.refresh.fresh(known))).accessToken;
      } catch (error) {
        return `failed: ${String(error)}`;
      }
    }),
  );
  process.stdout.write(`${JSON.stringify(ends)}\n`);
}
await replica[Symbol.asyncDispose]();
