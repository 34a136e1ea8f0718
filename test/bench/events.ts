import type { Options } from "./options.ts";
import { benchAccept } from "./events/accept.ts";
import { benchChanges } from "./events/changes.ts";
import { benchLateness } from "./events/lateness.ts";
import { startLogs } from "./events/logs.ts";

/** How many events are taken in, and how soon subscribers have them. */
export async function run({ rounds, visitMs }: Pick<Options, "rounds" | "visitMs">): Promise<void> {
  await using logs = await startLogs();
  await benchAccept(logs, rounds, visitMs);
  console.log("Audited changes");
  await benchChanges(logs, rounds, 2 * visitMs);
  console.log("From sending to a subscriber on other connections");
  await benchLateness(logs);
}
