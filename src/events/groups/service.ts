import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { EventSchema } from "#gen/patchbay/events/v1/event_pb.js";
import type { EventGroupService } from "#gen/patchbay/events/v1/event_group_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import type { Database } from "#src/db/database.ts";
import { LogNotFound } from "#src/eventlog/errors.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { callerOf, callOf, type Caller, type Environment } from "#src/platform/caller.ts";
import { newId } from "#src/platform/ids.ts";
import { InvalidPageToken, nextPage, readPage } from "#src/platform/paging.ts";
import { eventToMessage } from "../messages.ts";
import { positionOf } from "../start.ts";
import { waiting, type BacklogEvent } from "./delivery.ts";
import { GroupNotFound, NotDead } from "./errors.ts";
import type { Group, Ordering } from "./group.ts";
import { deadToMessage, deliveryToMessage, groupToMessage, startFrom } from "./messages.ts";
import type { Pull } from "./pull.ts";
import { readEach } from "./read-each.ts";
import type { RequireWhole } from "./rights.ts";
import { returnOverdue, type Settle } from "./settle.ts";
import {
  addToBacklog,
  announceReturned,
  countEvents,
  deleteGroup,
  findDead,
  findGroup,
  forgetEvents,
  insertGroup,
  listDead,
  listGroups,
  lockGroup,
  savePosition,
} from "./store.ts";

const defaultPageSize = 100;
const defaultDeadPageSize = 20;
const defaultMax = 10;
const defaultAckSeconds = 30;
const defaultMaxDeliveries = 10;
/** A caller that sets a deadline gets an empty answer before it, not a failure at it. */
const answerMs = 500;

/** What keeping groups needs. */
export interface GroupParts {
  readonly database: Database;
  readonly change: Change;
  readonly eventLog: EventLog;
  readonly environment: Environment;
  readonly pull: Pull;
  readonly settle: Settle;
  readonly requireWhole: RequireWhole;
  readonly now: () => Date;
}

/** Shares events among consumers. See the contract, `event_group_service.proto`. */
export function createEventGroupService(parts: GroupParts): ServiceImpl<typeof EventGroupService> {
  const { database, change, eventLog, environment, pull, settle, requireWhole, now } = parts;

  async function groupFor(caller: Caller, id: string): Promise<Group> {
    const group = await database.read(caller.orgId, (tx) => findGroup(tx, caller, id));
    if (group === undefined) throw new GroupNotFound();
    await requireWhole(caller, group);
    return group;
  }

  /** What was not acknowledged in time is counted as what it is by now. */
  async function groupNow(caller: Caller, id: string) {
    return database.record(caller.orgId, async (tx) => {
      const group = await lockGroup(tx, caller, id);
      if (group === undefined) throw new GroupNotFound();
      await returnOverdue(tx, group, now());
      return { group, counts: (await countEvents(tx, caller.orgId, [id])).get(id) };
    });
  }

  async function behindOf({ orgId, log, seq }: Group): Promise<number | undefined> {
    try {
      return Math.max(0, (await eventLog.bounds(orgId, log)).last - seq);
    } catch (error) {
      if (error instanceof LogNotFound) return undefined;
      throw error;
    }
  }

  /** Their data is read all the same, so some at a time. */
  async function attributesOf(group: Group, dead: readonly BacklogEvent[]) {
    const events = new Map<number, MessageInitShape<typeof EventSchema>>();
    let rest = dead.map(({ seq }) => seq);
    while (rest.length > 0) {
      const { read, left } = await readEach(eventLog, group, rest);
      for (const [seq, event] of read) events.set(seq, eventToMessage(event, { withData: false }));
      if (left.length === rest.length) break;
      rest = [...left];
    }
    return events;
  }

  return {
    async createEventGroup(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const { name, log, types } = request;
      const { orgId } = caller;
      await requireWhole(caller, { log, types });
      const seq = await positionOf(eventLog, orgId, { log, from: startFrom(request) });
      const at = now();
      const group: Group = {
        ...{ orgId, id: newId("grp", at), environment, name, log, types },
        ordering: orderingOf(request.order),
        ackSeconds: request.ackSeconds || defaultAckSeconds,
        maxDeliveries: request.maxDeliveries || defaultMaxDeliveries,
        seq,
        createdAt: at,
        createdBy: caller.via.id,
      };
      await change(call, async (tx) => {
        await insertGroup(tx, group);
        const { id: target, ordering } = group;
        await append(tx, call, {
          action: "group.create",
          target,
          details: { name, log, types, ordering, seq },
        });
      });
      return { group: groupToMessage(group, undefined, await behindOf(group)) };
    },

    async listEventGroups(request, context) {
      const caller = callerOf(context);
      const { page, counts } = await database.read(caller.orgId, async (tx) => {
        const page = await readPage(
          request,
          defaultPageSize,
          (rows) => listGroups(tx, caller, rows),
          (group) => group.id,
        );
        const ids = page.items.map(({ id }) => id);
        return { page, counts: await countEvents(tx, caller.orgId, ids) };
      });
      const groups = page.items.map((group) => groupToMessage(group, counts.get(group.id)));
      return { groups, ...nextPage(page) };
    },

    async getEventGroup({ id }, context) {
      const { group, counts } = await groupNow(callerOf(context), id);
      return { group: groupToMessage(group, counts, await behindOf(group)) };
    },

    async seekEventGroup(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const { log } = await groupFor(caller, request.id);
      const seq = await positionOf(eventLog, caller.orgId, { log, from: startFrom(request) });
      const sought = await change(call, async (tx) => {
        const group = await lockGroup(tx, caller, request.id);
        if (group === undefined) throw new GroupNotFound();
        await forgetEvents(tx, group, seq);
        await savePosition(tx, group, seq);
        await announceReturned(tx, group);
        const counts = (await countEvents(tx, caller.orgId, [group.id])).get(group.id);
        const details = { name: group.name, seq: { before: group.seq, after: seq } };
        await append(tx, call, { action: "group.seek", target: group.id, details });
        return { group: { ...group, seq }, counts };
      });
      return { group: groupToMessage(sought.group, sought.counts, await behindOf(sought.group)) };
    },

    async deleteEventGroup({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      await change(call, async (tx) => {
        const group = await lockGroup(tx, caller, id);
        if (group === undefined) throw new GroupNotFound();
        await deleteGroup(tx, group);
        await announceReturned(tx, group);
        const { name, log, seq } = group;
        await append(tx, call, { action: "group.delete", target: id, details: { name, log, seq } });
      });
      return {};
    },

    async pullEvents({ id, max, waitSeconds }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const group = await groupFor(caller, id);
      const leftMs = (context.timeoutMs() ?? Infinity) - answerMs;
      const delivered = await pull(caller, {
        groupId: id,
        max: max || defaultMax,
        waitMs: Math.max(0, Math.min(waitSeconds * 1000, leftMs)),
        signal: context.signal,
        async recheck() {
          await call.recheck?.();
          // The key may have been narrowed meanwhile.
          await requireWhole(call.caller ?? caller, group);
        },
      });
      return { deliveries: delivered.map(deliveryToMessage) };
    },

    async ackEvents({ id, tokens }, context) {
      await settle(callerOf(context), id, tokens, { do: "acknowledge" });
      return {};
    },

    async nackEvents({ id, tokens, delaySeconds }, context) {
      await settle(callerOf(context), id, tokens, { do: "give back", delayMs: delaySeconds * 1000 });
      return {};
    },

    async extendEvents({ id, tokens, seconds }, context) {
      const until = await settle(callerOf(context), id, tokens, {
        do: "extend",
        seconds: seconds || undefined,
      });
      return { until: timestampFromDate(until) };
    },

    async listDeadEvents(request, context) {
      const caller = callerOf(context);
      const page = await readPage(
        request,
        defaultDeadPageSize,
        async ({ after, limit }) => {
          const part = { after: numberOf(after), limit };
          await groupFor(caller, request.id);
          const { group } = await groupNow(caller, request.id);
          const dead = await database.read(caller.orgId, (tx) => listDead(tx, group, part));
          const events = await attributesOf(group, dead);
          return dead.map((one) => ({ seq: one.seq, message: deadToMessage(one, events.get(one.seq)) }));
        },
        ({ seq }) => String(seq),
      );
      return { events: page.items.map(({ message }) => message), ...nextPage(page) };
    },

    async redeliverEvents(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const seqs = [...new Set(request.seqs.map(Number))];
      await change(call, async (tx) => {
        const group = await lockGroup(tx, caller, request.id);
        if (group === undefined) throw new GroupNotFound();
        const dead = await findDead(tx, group, seqs);
        const known = new Set(dead.map(({ seq }) => seq));
        const unknown = seqs.filter((seq) => !known.has(seq));
        if (unknown.length > 0) throw new NotDead(group.id, unknown);
        await addToBacklog(
          tx,
          group,
          dead.map(({ seq, key }) => waiting(seq, key, 0, now())),
        );
        await announceReturned(tx, group);
        await append(tx, call, {
          action: "group.redeliver",
          target: group.id,
          details: { name: group.name, seqs },
        });
      });
      return {};
    },
  };
}

/** The number that a page begins behind. */
function numberOf(key: string): number {
  if (!/^\d{0,15}$/.test(key)) throw new InvalidPageToken();
  return Number(key);
}

function orderingOf(order: string): Ordering {
  return order === "subject" || order === "log" ? order : "none";
}
