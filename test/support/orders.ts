import type { Tenant } from "./service.ts";

/** A channel of CloudEvents of the tenant: answers how to send it an event, by its id. */
export async function createOrders({ client, secret }: Tenant) {
  const { channel, url } = await client.channels.createChannel({
    name: "orders",
    source: { case: "cloudEvents", value: {} },
  });
  const send = (id: string) =>
    fetch(url, {
      method: "POST",
      headers: {
        authorization: `Bearer ${secret}`,
        ...{ "content-type": "application/json", "ce-specversion": "1.0" },
        ...{ "ce-id": id, "ce-source": "/shop", "ce-type": "order.made" },
      },
      body: "{}",
    });
  return { channel, send };
}
