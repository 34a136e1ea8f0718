import { benchFanOut } from "./webhooks/fan-out.ts";
import { benchHanging } from "./webhooks/hanging.ts";
import { startEndpoints } from "./webhooks/endpoints.ts";

/** What sending to many endpoints costs, and what those notice that answer while others hang. */
export async function run(): Promise<void> {
  await using endpoints = await startEndpoints({ organisations: 1_000, each: 10 });
  await benchFanOut(endpoints);
  await benchHanging(endpoints);
}
