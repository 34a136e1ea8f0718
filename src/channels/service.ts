import type { ServiceImpl } from "@connectrpc/connect";
import type { ChannelService } from "#gen/patchbay/events/v1/channel_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Change } from "#src/audit/change.ts";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Connections } from "#src/connections/connections.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Database } from "#src/db/database.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { nextPage, readPage } from "#src/platform/paging.ts";
import { present } from "#src/platform/present.ts";
import type { PublicUrl } from "#src/platform/public-url.ts";
import { Secret } from "#src/platform/secret.ts";
import type { Channel } from "./channel.ts";
import { ChannelNotFound } from "./errors.ts";
import { toMessage } from "./messages.ts";
import { newChannel } from "./new-channel.ts";
import { secretOwner } from "./secret-owner.ts";
import { sourceConnection } from "./sources/connection-of.ts";
import { createResetChannel } from "./sources/reset-channel.ts";
import {
  deleteChannel,
  getChannel,
  getChannelForUpdate,
  insertChannel,
  insertSecret,
  listChannels,
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
  const { database, change, keyring, eventLog, publicUrl, connections, now } = parts;

  return {
    async createChannel(request, context) {
      const call = callOf(context);
      const { orgId } = callerOf(context);
      const connectionId = await sourceConnection(connections, callerOf(context), request.source);
      const { channel, secret, segment } = newChannel(request, callerOf(context), now(), connectionId);
      await eventLog.prepare(channel);
      await keyring.sealing(orgId, (sealer) =>
        change(call, async (tx) => {
          await insertChannel(tx, channel);
          for (const version of channel.secrets) {
            using text = Secret.fromText(secret?.text ?? "");
            const sealed = await sealer.seal(tx, secretOwner(channel, version.version), text);
            await insertSecret(tx, channel, version, sealed);
          }
          await eventLog.create(sealer, tx, orgId, channel.id, channel);
          await append(tx, call, {
            action: "channel.create",
            target: channel.id,
            details: detailsOf(channel),
          });
        }),
      );
      if (channel.config.receiver === undefined) return { channel: toMessage(channel), url: "" };
      const url = [publicUrl.current(), "in", channel.id, ...(segment === undefined ? [] : [segment])].join(
        "/",
      );
      const made = secret?.isGiven === false ? secret.text : undefined;
      return { channel: toMessage(channel), url, ...present({ secret: made }) };
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

    async deleteChannel({ id }, context) {
      const call = callOf(context);
      const caller = callerOf(context);
      await change(call, async (tx) => {
        const channel = await getChannelForUpdate(tx, caller, id);
        if (channel === undefined) throw new ChannelNotFound();
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

/** What an event says of a channel: nothing that a sender proves itself by. */
function detailsOf({ name, kind, config, retentionSeconds, dedupSeconds }: Channel) {
  return { name, kind, ...config, retentionSeconds, dedupSeconds };
}
