import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as node from "#src/client/node.ts";
import * as web from "#src/client/web.ts";
import { startService, type TestService } from "../support/service.ts";
import { layWire } from "./wire.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

let made = 0;
async function connect(): Promise<string> {
  const wanted = { serviceSlug: `custom:w${made++}`, baseUrl: "https://w.example", apiKey: "a-key" };
  return (await service.org.client.connections.upsertServiceConnection(wanted)).connection?.id ?? "";
}

describe.each([
  ["patchbay/client", node],
  ["patchbay/web", web],
])("a watcher of %s", (_, { createPatchbayClient }) => {
  const watcher = (baseUrl = service.url, apiKey = service.org.secret) =>
    createPatchbayClient({ baseUrl, apiKey }).connections;

  test("has all connections, then what changes, also what changed while its connection was cut", async () => {
    await using wire = await layWire(service.url);
    const [kept, gone] = [await connect(), await connect()];
    const watching = watcher(wire.url).watch();
    const first = (await watching.next()).value;
    expect(first?.changed.map(({ id }) => id)).toEqual(expect.arrayContaining([kept, gone]));
    expect(first?.all.get(gone)?.baseUrl).toBe("https://w.example");

    const coming = watching.next();
    await wire.cut();
    await service.org.client.connections.deleteConnection({ id: gone });
    await service.org.client.connections.updateConnection({ id: kept, name: "renamed" });
    await wire.mend();
    const turns = [(await coming).value];
    const isOver = () =>
      turns.some((turn) => turn?.removedIds.includes(gone)) && first?.all.get(kept)?.name === "renamed";
    while (!isOver()) turns.push((await watching.next()).value);
    expect(first?.all.has(gone)).toBe(false);
    expect(turns.flatMap((turn) => turn?.changed ?? []).map(({ id }) => id)).toEqual([kept]);
    await watching.return();
  });

  test("of nothing has one turn that says so, and ends with its signal", async () => {
    const other = await service.newOrganization("empty");
    const stop = new AbortController();
    const watching = watcher(service.url, other.secret).watch({ signal: stop.signal });
    expect((await watching.next()).value).toMatchObject({ changed: [], removedIds: [] });
    const coming = watching.next();
    stop.abort();
    expect(await coming).toEqual({ done: true, value: undefined });
  });

  test("throws what Patchbay refuses", async () => {
    const { secret } = await service.org.client.apiKeys.createApiKey({ name: "k", scopes: ["events:view"] });
    await expect(watcher(service.url, secret).watch().next()).rejects.toThrow("connections:view");
  });
});
