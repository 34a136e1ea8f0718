import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { EventSchema } from "#gen/patchbay/events/v1/event_pb.js";
import type {
  DeadEventSchema,
  DeliverySchema,
  EventGroupSchema,
} from "#gen/patchbay/events/v1/event_group_pb.js";
import type {
  CreateEventGroupRequest,
  SeekEventGroupRequest,
} from "#gen/patchbay/events/v1/event_group_service_pb.js";
import { oneOfMany } from "../messages.ts";
import type { Start } from "../start.ts";
import type { BacklogEvent } from "./delivery.ts";
import type { Counts, Group } from "./group.ts";
import type { Delivered } from "./pull.ts";

/** A group as it is answered. */
export function groupToMessage(
  group: Group,
  counts: Counts | undefined,
  behind?: number,
): MessageInitShape<typeof EventGroupSchema> {
  const { id, name, log, types, ordering: order, ackSeconds, maxDeliveries, seq, createdBy } = group;
  return {
    ...{ id, name, log, types: [...types], order, ackSeconds, maxDeliveries, createdBy },
    ...counts,
    position: BigInt(seq),
    createdAt: timestampFromDate(group.createdAt),
    ...(behind !== undefined && { behind: BigInt(behind) }),
  };
}

/** An event in a consumer's hands. */
export function deliveryToMessage({
  token,
  event,
  attempt,
}: Delivered): MessageInitShape<typeof DeliverySchema> {
  return { token, attempt, event: oneOfMany(event) };
}

/** A dead event; without what it holds, if the log no longer keeps it. */
export function deadToMessage(
  { seq, deliveries, deadAt, deadReason }: BacklogEvent,
  event: MessageInitShape<typeof EventSchema> | undefined,
): MessageInitShape<typeof DeadEventSchema> {
  return {
    ...{ seq: BigInt(seq), deliveries },
    ...(deadAt && { deadAt: timestampFromDate(deadAt) }),
    ...(deadReason && { reason: deadReason }),
    ...(event && { event }),
  };
}

/** Without a place, a new group begins with what comes from now on. */
export function startFrom({ from }: CreateEventGroupRequest | SeekEventGroupRequest): Start["from"] {
  switch (from.case) {
    case "after":
      return { after: Number(from.value) };
    case "since":
      return { since: timestampDate(from.value) };
    case "earliest":
      return "earliest";
    case "latest":
    case undefined:
      return "latest";
  }
}
