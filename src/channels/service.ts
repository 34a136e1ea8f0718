import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import { append, nothingToAudit } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import type { Connections } from "#src/connections/connections.ts";
import type { Keyring, Sealer } from "#src/crypto/keyring.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import { unchanged, type Database, type Tx } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Arrival } from "#src/eventlog/intake.ts";
import { callerOf, callOf, type Call, type Caller } from "#src/platform/caller.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import { present } from "#src/platform/present.ts";
import type { PublicUrl } from "#src/platform/public-url.ts";
import { Secret } from "#src/platform/secret.ts";
import type { Channel } from "./channel.ts";
import { ChannelNotFound } from "./errors.ts";
import { toMessage } from "./messages.ts";
import { receiptKey } from "./cloudevents.ts";
import { rotate, update } from "./change-channel.ts";
import { newChannel, usualSeconds, type NewChannel } from "./new-channel.ts";
import { presetOf } from "./scheme-of.ts";
import { verifyTokenOf } from "./verify-token.ts";
import { secretOwner } from "./secret-owner.ts";
import { sourceConnection } from "./sources/connection-of.ts";
import { createResetChannel } from "./sources/reset-channel.ts";
import { readAnew } from "./sources/state.ts";
import {
  deleteChannel,
  getChannel,
  getChannelForUpdate,
  insertChannel,
  insertSecret,
  listChannels,
  saveChannel,
  saveGraces,
} from "./store.ts";

const defaultPageSize = 100;

/** What keeping channels needs. */
export interface ChannelParts {
  readonly database: Database;
  readonly change: Change;
  readonly keyring: Keyring;
  readonly eventLog: EventLog;
  readonly publicUrl: PublicUrl;
  readonly connections: Pick<Connections, "usable">;
  readonly pepper: Pepper;
  readonly now: () => Date;
}

/** Keeps channels. See the contract, `channel_service.proto`. */
export function createChannelService(parts: ChannelParts): ServiceImpl<typeof ChannelService> {
  const { database, change, keyring, eventLog, publicUrl, connections, pepper, now } = parts;

  async function sealSecret(sealer: Sealer, tx: Tx, { channel, secret }: NewChannel): Promise<void> {
    const [newest] = channel.secrets;
    if (secret === undefined || newest === undefined) return;
    using text = Secret.fromText(secret.text);
    const sealed = await sealer.seal(tx, secretOwner(channel, newest.version), text);
    await insertSecret(tx, channel, newest, sealed);
  }

  /** What is answered once and never again. */
  function shownOnce({ channel, secret, segment }: NewChannel) {
    const { receiver } = channel.config;
    const address = [publicUrl.current(), "in", channel.id, segment].filter((part) => part !== undefined);
    const isAsked = channel.kind === "webhook" && presetOf(channel.config).handshake === "meta-challenge";
    return present({
      url: receiver === undefined ? "" : address.join("/"),
      secret: secret?.isGiven === false ? secret.text : undefined,
      verifyToken: isAsked ? verifyTokenOf(pepper, channel.id) : undefined,
    });
  }

  async function lock(tx: Tx, caller: Caller, id: string): Promise<Channel> {
    const channel = await getChannelForUpdate(tx, caller, id);
    if (channel === undefined) throw new ChannelNotFound();
    return channel;
  }

  /** Makes a change that needs no secret; one that changes nothing is not recorded. */
  async function changeChannel(
    context: HandlerContext,
    id: string,
    action: string,
    next: (before: Channel) => Channel,
  ) {
    const call = callOf(context);
    const caller = callerOf(context);
    const changed = await change(call, async (tx) => {
      const before = await lock(tx, caller, id);
      const after = next(before);
      if (after === before) {
        nothingToAudit(call);
        return unchanged(before);
      }
      await saveChannel(tx, after);
      const details = { before: detailsOf(before), after: detailsOf(after) };
      await append(tx, call, { action, target: id, details });
      // After the record, as all that append to logs lock them in this order.
      if (keepsOtherwise(before, after)) await eventLog.keep(tx, caller.orgId, id, after);
      // And after the logs, as whoever stores what it read has locked its log.
      const isOther = readsOtherwise(before, after);
      if (isOther || isResumed(before, after)) await readAnew(tx, after, { isOther }, now());
      return after;
    });
    return { channel: toMessage(changed) };
  }

  return {
    async createChannel(request, context) {
      const call = callOf(context);
      const { orgId } = callerOf(context);
      const connectionId = await sourceConnection(connections, callerOf(context), request.source);
      const made = newChannel(request, callerOf(context), now(), connectionId);
      const { channel } = made;
      await eventLog.prepare(channel);
      await keyring.sealing(orgId, (sealer) =>
        change(call, async (tx) => {
          await insertChannel(tx, channel);
          await sealSecret(sealer, tx, made);
          await eventLog.create(sealer, tx, orgId, channel.id, channel);
          await append(tx, call, {
            action: "channel.create",
            target: channel.id,
            details: detailsOf(channel),
          });
        }),
      );
      return { channel: toMessage(channel), ...shownOnce(made) };
    },

    async listChannels(request, context) {
      const caller = callerOf(context);
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          (rows) => listChannels(tx, caller, rows),
          (channel) => channel.id,
        ),
      );
      return { channels: page.items.map(toMessage), ...nextPage(page) };
    },

    async getChannel({ id }, context) {
      const caller = callerOf(context);
      const channel = await database.read(caller.orgId, (tx) => getChannel(tx, caller, id));
      if (channel === undefined) throw new ChannelNotFound();
      return { channel: toMessage(channel) };
    },

    async updateChannel(request, context) {
      const { retentionSeconds = usualSeconds, dedupSeconds = usualSeconds } = request;
      await eventLog.prepare({ retentionSeconds, dedupSeconds });
      const connectionId = await sourceConnection(connections, callerOf(context), request.source);
      return changeChannel(context, request.id, "channel.update", (before) =>
        update(before, request, now(), connectionId),
      );
    },

    async pauseChannel({ id }, context) {
      return changeChannel(context, id, "channel.pause", (before) => stateOf(before, "paused", now()));
    },

    async resumeChannel({ id }, context) {
      return changeChannel(context, id, "channel.resume", (before) => stateOf(before, "active", now()));
    },

    async rotateChannelSecret(request, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const rotated = await keyring.sealing(caller.orgId, (sealer) =>
        change(call, async (tx) => {
          const next = rotate(await lock(tx, caller, request.id), request, now());
          const { channel } = next;
          await saveChannel(tx, channel);
          if (next.secret !== undefined) await saveGraces(tx, channel);
          await sealSecret(sealer, tx, next);
          const details = {
            name: channel.name,
            secrets: channel.secrets,
            segment: next.segment !== undefined,
          };
          await append(tx, call, { action: "channel.rotate", target: channel.id, details });
          return next;
        }),
      );
      return { channel: toMessage(rotated.channel), ...shownOnce(rotated) };
    },

    async testChannel({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      const channel = await database.read(caller.orgId, (tx) => getChannel(tx, caller, id));
      if (channel === undefined) throw new ChannelNotFound();
      const startedAt = performance.now();
      const [accepted] = await eventLog.accept(caller.orgId, [testEvent(channel, call, now())]);
      const latencyMs = Math.round(performance.now() - startedAt);
      const seq = accepted?.seq ?? 0;
      await change(call, (tx) => append(tx, call, { action: "channel.test", target: id, details: { seq } }));
      return { ok: true, seq: BigInt(seq), latencyMs };
    },

    async deleteChannel({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      await change(call, async (tx) => {
        const channel = await lock(tx, caller, id);
        await deleteChannel(tx, channel);
        const details = { ...detailsOf(channel), lastSeq: channel.lastSeq };
        await append(tx, call, { action: "channel.delete", target: id, details });
        await eventLog.remove(tx, id);
      });
      return {};
    },

    resetChannel: createResetChannel(parts),
  };
}

function keepsOtherwise(before: Channel, after: Channel): boolean {
  return before.retentionSeconds !== after.retentionSeconds || before.dedupSeconds !== after.dedupSeconds;
}

function readsOtherwise(before: Channel, after: Channel): boolean {
  const [one, other] = [before, after].map(({ config: { sse, poll }, connectionId }) => [
    sse,
    poll,
    connectionId,
  ]);
  return !isDeepStrictEqual(one, other);
}

function isResumed(before: Channel, after: Channel): boolean {
  return before.state !== "active" && after.state === "active";
}

/** The channel in the state; itself, if that is its state already. */
function stateOf(channel: Channel, state: Channel["state"], at: Date): Channel {
  if (channel.state === state) return channel;
  return { ...channel, state, stateReason: undefined, version: channel.version + 1, updatedAt: at };
}

function testEvent({ id, name }: Channel, { named }: Call, at: Date): Arrival {
  return {
    // A repeated call finds the event of the first.
    key: named && receiptKey("patchbay.test", named.key),
    ...{ log: id, id: randomUUID(), source: "patchbay", type: "patchbay.test" },
    ...{ time: at.toISOString(), contentType: "application/json", extensions: {}, verified: "patchbay" },
    data: Buffer.from(JSON.stringify({ message: `a test of the channel ${name}` })),
  };
}

/** What an event says of a channel: nothing that a sender proves itself by. */
function detailsOf({ name, kind, config, connectionId, state, retentionSeconds, dedupSeconds }: Channel) {
  return { name, kind, ...config, connection: connectionId, state, retentionSeconds, dedupSeconds };
}
