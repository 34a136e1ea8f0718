import type { Endpoint } from "./endpoint.ts";

/** What an endpoint's event says of it. Its headers by their names only. */
export function detailsOf({ url, types, headerNames, ordering, afterSchedule, format }: Endpoint) {
  return { url, types, headerNames, ordering, afterSchedule, format };
}
