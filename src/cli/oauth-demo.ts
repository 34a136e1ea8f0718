import { toJsonString } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { setTimeout as sleep } from "node:timers/promises";
import type { PatchbayClient } from "#src/client/node.ts";
import {
  startDemoAuthorizationServer,
  type DemoAuthorizationServer,
} from "#src/demo/authorization-server.ts";
import { makeDemoChannel, showEvents } from "./event-demo.ts";
import { ask } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { untilSignal } from "./signals.ts";

const slug = "custom:oauth-demo";
const authMethod = "sign-in";

/**
 * Shows how a person connects a service: starts one that has OAuth 2.0 on this machine, connects it at the running
 * Patchbay, prints the link, and calls the service once somebody has followed it. Beside that it makes a channel, prints
 * a command that sends it an event, and shows what arrives. Takes both back at its end.
 */
export async function demonstrate(flags: Shown): Promise<void> {
  const stopped = untilSignal();
  await using server = await startDemoAuthorizationServer();
  const { id, url } = await ask(flags, (client) => connect(client, server));
  say(`a service with OAuth 2.0 runs at ${server.url}, and connection ${id} waits for its user`);
  say(`\nopen this link, and sign in:\n\n  ${url}\n`);
  const channel = await ask(flags, makeDemoChannel);
  say(`send an event, and see it arrive here:\n\n  ${channel.command}\n`);
  const ending = new AbortController();
  const { signal } = ending;
  const shown = Promise.all([
    ask(flags, (client) => showCalls(client, id, signal)),
    ask(flags, (client) => showEvents(client, channel.id, { ending: signal, say })),
  ]);
  await Promise.race([stopped, shown]);
  ending.abort();
  await shown;
  await ask(flags, ({ channels }) => channels.deleteChannel({ id: channel.id }));
  const { revocation } = await ask(flags, ({ connections }) => connections.deleteConnection({ id }));
  say(`the connection is deleted, and its tokens: ${revocation ?? "there were none"}`);
}

async function connect(client: PatchbayClient, server: DemoAuthorizationServer) {
  await client.integrations.upsertIntegration({
    slug,
    name: "Demo service",
    baseUrl: server.url,
    authMethods: [
      {
        id: authMethod,
        type: "oauth2",
        label: "Sign in",
        oauth2: {
          grant: "authorization_code",
          authorizationUrl: `${server.url}/authorize`,
          tokenUrl: `${server.url}/token`,
          revocationUrl: `${server.url}/revoke`,
          pkce: "required",
          clientAuthentication: "post",
          scopeSeparator: " ",
          defaultScopes: ["name"],
          refresh: "rotating",
        },
      },
    ],
  });
  const { clientId, clientSecret } = server;
  await client.integrations.putOAuthClient({ slug, authMethod, clientId, clientSecret });
  const { connection } = await client.connections.createConnection({ integration: slug, authMethod });
  const { id } = connection!;
  const { url } = await client.connections.startAuthorization({ id });
  server.sendBackTo(new URL("/oauth/callback", url).href);
  return { id, url };
}

/** Calls the service once it is connected, and then again and again, to show that its tokens are renewed. */
async function showCalls({ connections }: PatchbayClient, id: string, ending: AbortSignal): Promise<void> {
  while (!ending.aborted) {
    const { connection } = await connections.getConnection({ id });
    if (connection?.status === "ACTIVE") {
      const { status, body } = await connections.callService({ service: id, method: "GET", path: "/me" });
      const answer = body.case === "json" ? toJsonString(ValueSchema, body.value) : "";
      say(`GET /me  ${status}  ${answer}`);
    }
    const pauseMs = connection?.status === "ACTIVE" ? 20_000 : 1_000;
    await sleep(pauseMs, undefined, { signal: ending }).catch(() => {});
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
