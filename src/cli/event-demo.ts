import type { PatchbayClient } from "#src/client/node.ts";
import { lineOf } from "./tail.ts";

/** A channel that takes events of whoever has a key, and the command that sends one. */
export async function makeDemoChannel({
  channels,
}: PatchbayClient): Promise<{ id: string; command: string }> {
  const { channel, url } = await channels.createChannel({
    name: "Demo",
    source: { case: "webhook", value: {} },
    receiver: { authentication: "bearer" },
  });
  const headers = `-H "Authorization: Bearer $PATCHBAY_KEY" -H 'content-type: application/json'`;
  return {
    id: channel?.id ?? "",
    command: `curl ${url} ${headers} -d '{"type":"order.paid","amount":1250}'`,
  };
}

/** Says what arrives, until it is told to end. */
export async function showEvents(
  { events }: PatchbayClient,
  channelId: string,
  { ending, say }: { readonly ending: AbortSignal; readonly say: (line: string) => void },
): Promise<void> {
  for await (const event of events.follow({ logs: [channelId], from: "earliest", signal: ending }))
    say(lineOf(event, { data: true }));
}
