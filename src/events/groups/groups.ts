import { EventGroupService } from "#gen/patchbay/events/v1/event_group_service_pb.js";
import type { Log } from "#src/platform/log.ts";
import type { Loop } from "#src/platform/loop.ts";
import { serve, type ServedService } from "#src/platform/served-service.ts";
import type { ReadableLogs } from "../readable-logs.ts";
import { createPull } from "./pull.ts";
import { createRequireWhole } from "./rights.ts";
import { createEventGroupService, type GroupParts } from "./service.ts";
import { createSettle } from "./settle.ts";
import { createGroupUpkeep } from "./upkeep.ts";
import { createGroupWakes } from "./wakes.ts";

/** Consumers that share the events of a log. */
export interface Groups {
  readonly service: ServedService;
  readonly upkeep: Loop;
  /** Ends the pulls that wait: they would hold up a shutdown. */
  stopWaiting(): void;
}

export async function createGroups(
  parts: Omit<GroupParts, "pull" | "settle" | "requireWhole"> & { readable: ReadableLogs; log: Log },
): Promise<Groups> {
  const wakes = await createGroupWakes(parts);
  const pull = createPull({ ...parts, wakes });
  const settle = createSettle({ ...parts, freed: (orgId, groupId) => wakes.freed(orgId, groupId) });
  const requireWhole = createRequireWhole(parts.readable);
  return {
    service: serve(EventGroupService, createEventGroupService({ ...parts, pull, settle, requireWhole })),
    upkeep: createGroupUpkeep(parts),
    stopWaiting: () => wakes.stop(),
  };
}
