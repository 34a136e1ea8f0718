import { sealedChannelColumns } from "#src/channels/sealed-columns.ts";
import { sealedConnectionColumns } from "#src/connections/sealed-columns.ts";
import type { SealedColumn } from "#src/crypto/sealed-column.ts";
import { sealedLogColumns } from "#src/eventlog/sealed-columns.ts";
import { sealedClientColumns } from "#src/integrations/sealed-columns.ts";
import { sealedWebhookColumns } from "#src/webhooks/sealed-columns.ts";

/** Every column of sealed bytes that there is. What is missing here keeps an organisation's replaced key alive. */
export const sealedColumns: readonly SealedColumn[] = [
  ...sealedConnectionColumns,
  ...sealedClientColumns,
  ...sealedLogColumns,
  ...sealedChannelColumns,
  ...sealedWebhookColumns,
];
