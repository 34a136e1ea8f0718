import type { SealedColumn } from "#src/crypto/sealed-column.ts";
import { channelSecrets } from "./schema.ts";
import { secretOwner } from "./secret-owner.ts";

const { orgId, sealed, kekVersion, channelId, version } = channelSecrets;

/** Where secrets of channels are stored, sealed. */
export const sealedChannelColumns: readonly SealedColumn[] = [
  {
    table: channelSecrets,
    ...{ orgId, sealed, kekVersion, version, id: channelId },
    owner: (orgId, id, version) => secretOwner({ orgId, id }, version),
  },
];
