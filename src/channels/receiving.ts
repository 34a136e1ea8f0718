import type { Keyring } from "#src/crypto/keyring.ts";
import type { Database } from "#src/db/database.ts";
import { createRecent } from "#src/db/recent.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { ChannelKind, ReceiverConfig } from "./channel.ts";
import { wantedPlaces, type WantedPlaces } from "./json-places.ts";
import type { Place, Preset } from "./preset.ts";
import { findReceiving } from "./receiving-store.ts";
import { presetOf, schemeOf } from "./scheme-of.ts";
import { secretOwner } from "./secret-owner.ts";
import type { Scheme } from "./signatures/scheme.ts";

/** A channel as a sender's request meets it. */
export interface Receiving {
  readonly orgId: string;
  readonly id: string;
  readonly kind: ChannelKind;
  readonly receiver: ReceiverConfig;
  readonly preset: Preset;
  /** How senders prove themselves; undefined where they show a key of ours, or nothing. */
  readonly scheme: Scheme | undefined;
  /** What of a body is looked for. */
  readonly places: WantedPlaces;
  readonly allowedOrigins: readonly string[];
  readonly segmentHash: Buffer | undefined;
  readonly secrets: readonly { readonly bytes: Buffer; readonly validUntil: Date | undefined }[];
}

/** Finds channels by the ids that senders name. */
export interface ReceivingLookup {
  /** Undefined if no channel of the id takes requests. */
  find(id: string): Promise<Receiving | undefined>;
  /** What `find` would answer without asking the database; undefined if it would have to ask. */
  recall(id: string): Receiving | undefined;
}

/**
 * Remembers what senders' requests are taken by, so that one to a channel that is known costs no look-up. Its secrets
 * are opened with it, and forgotten with it, five seconds after it was last asked for.
 */
export async function createReceivingLookup(parts: {
  database: Database;
  keyring: Keyring;
  environment: Environment;
  now: () => Date;
  monotonicNow: () => number;
}): Promise<ReceivingLookup> {
  const { database, keyring, environment, now, monotonicNow } = parts;
  const known = await createRecent<Receiving>({
    database,
    kinds: ["channel", "organization"],
    dependsOn: ({ orgId, id }) => [`channel/${orgId}/${id}`, `organization/${orgId}`],
    monotonicNow,
  });

  async function ask(id: string): Promise<Receiving | undefined> {
    const asked = known.moment();
    const found = await database.single((tx) => findReceiving(tx, id, environment, now()), "receivers");
    const { receiver } = found?.config ?? {};
    if (found === undefined || receiver === undefined) return undefined;
    const { orgId, kind, config, segmentHash } = found;
    const secrets = await Promise.all(
      found.secrets.map(async ({ version, sealed, wrappedKey, validUntil }) => {
        const secret = await keyring.open(secretOwner({ orgId, id }, version), sealed, wrappedKey);
        return { bytes: secret.reveal(), validUntil };
      }),
    );
    const preset = presetOf(config);
    const receiving: Receiving = {
      ...{ orgId, id, kind, receiver, preset, segmentHash, secrets },
      scheme: schemeOf(config),
      places: wantedPlaces(pointersOf(preset)),
      allowedOrigins: config.allowedOrigins ?? [],
    };
    known.remember(id, receiving, asked);
    return receiving;
  }

  return {
    find: (id) => Promise.resolve(known.recall(id) ?? known.askOnce(id, () => ask(id))),
    recall: (id) => known.recall(id),
  };
}

function pointersOf({ id, type, subject, time, masked }: Preset): string[] {
  const places: (Place | undefined)[] = [id, ...type, subject, time];
  return [...places.flatMap((place) => (place && "pointer" in place ? [place.pointer] : [])), ...masked];
}
