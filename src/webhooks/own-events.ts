import type { Tx } from "#src/db/database.ts";
import { sql } from "#src/db/drizzle.cjs";
import type { Endpoint } from "./endpoint.ts";

/** What this service says of an endpoint. */
export interface EndpointEvent {
  readonly type: "webhook.failing" | "webhook.paused" | "webhook.resumed";
  readonly data: Readonly<Record<string, unknown>>;
}

/** Appends to the organisation's own log, as the last thing of the transaction: its other events wait from here on. */
export async function appendOwnEvent(
  tx: Tx,
  { id, url, updatedAt }: Pick<Endpoint, "id" | "url" | "updatedAt">,
  { type, data }: EndpointEvent,
): Promise<void> {
  const text = JSON.stringify({ endpointId: id, url, ...data });
  await tx.execute(sql`select append_own_event(${type}, ${id}, ${text}::json, ${updatedAt.toISOString()})`);
}
