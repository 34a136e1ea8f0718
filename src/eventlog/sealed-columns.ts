import type { SealedColumn } from "#src/crypto/sealed-column.ts";
import { ownerOf } from "./data-keys.ts";
import { logHeads } from "./schema.ts";

const { orgId, log, sealedKey, kekVersion } = logHeads;

/** Where the keys of logs are stored, sealed. What a log holds is sealed with its key, and stays as it is. */
export const sealedLogColumns: readonly SealedColumn[] = [
  { table: logHeads, ...{ orgId, kekVersion, sealed: sealedKey, id: log }, owner: ownerOf },
];
