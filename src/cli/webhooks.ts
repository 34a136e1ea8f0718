import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  CreateWebhookEndpointResponseSchema,
  DeleteWebhookEndpointResponseSchema,
  ListWebhookEndpointsResponseSchema,
  WebhookEndpointSchema,
  type PatchbayClient,
  type WebhookEndpoint,
} from "#src/client/node.ts";
import type { WebhookFlags } from "./event-commands.ts";
import { facts } from "./facts.ts";
import { pairIn } from "./pair.ts";
import { printJson } from "./print.ts";
import { ask, contentOf } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { table } from "./table.ts";

/** Prints the endpoints that events are sent to, oldest first. */
export async function listEndpoints(flags: Shown): Promise<void> {
  const endpoints = await ask(flags, allEndpoints);
  if (flags.json) return printJson(ListWebhookEndpointsResponseSchema, { endpoints });
  const rows = endpoints.map((one) => [one.id, one.url, one.types.join(", "), one.state]);
  process.stdout.write(table(["ID", "URL", "TYPES", "STATE"], rows));
}

/** Prints one endpoint. */
export async function showEndpoint(id: string, flags: Shown): Promise<void> {
  const { endpoint } = await ask(flags, ({ webhooks }) => webhooks.getWebhookEndpoint({ id }));
  if (endpoint !== undefined) show(endpoint, flags);
}

/** Registers an endpoint, and prints the secret that its deliveries are signed with: this once. */
export async function createEndpoint(url: string, flags: Shown & WebhookFlags): Promise<void> {
  const { types = "", description = "", ordering = "", format = "" } = flags;
  const headers: Record<string, string> = {};
  for (const text of flags.header ?? []) {
    const [name, file] = pairIn("--header", text);
    headers[name] = (await contentOf(file)).toString().trim();
  }
  const wanted = {
    url,
    types: types.split(",").map((type) => type.trim()),
    description,
    ordering,
    format,
    headers,
  };
  const made = await ask(flags, ({ webhooks }) => webhooks.createWebhookEndpoint(wanted));
  if (flags.json) return printJson(CreateWebhookEndpointResponseSchema, made);
  process.stdout.write(facts({ id: made.endpoint?.id, url: made.endpoint?.url, secret: made.secret }));
  process.stderr.write("patchbay: give the secret to the receiver; it is not shown again\n");
}

/** Deletes an endpoint, and what waits for it. */
export async function removeEndpoint(id: string, flags: Shown): Promise<void> {
  const answer = await ask(flags, ({ webhooks }) => webhooks.deleteWebhookEndpoint({ id }));
  if (flags.json) printJson(DeleteWebhookEndpointResponseSchema, answer);
}

async function allEndpoints({ webhooks }: PatchbayClient): Promise<WebhookEndpoint[]> {
  const found: WebhookEndpoint[] = [];
  for (let pageToken: string | undefined = ""; pageToken !== undefined;) {
    const page = await webhooks.listWebhookEndpoints({ pageToken });
    found.push(...page.endpoints);
    pageToken = page.nextPageToken;
  }
  return found;
}

function show(endpoint: WebhookEndpoint, { json }: Shown): void {
  if (json) return printJson(WebhookEndpointSchema, endpoint);
  const { id, url, description, types, pausedTypes, state, stateReason, positions } = endpoint;
  process.stdout.write(
    facts({
      ...{ id, url, description, types: types.join(", "), waiting: pausedTypes.join(", ") },
      ...{ state, because: stateReason, ordering: endpoint.ordering },
      "sent up to": positions.map(({ log, seq }) => `${log} ${seq}`).join(", "),
      "last success": timeText(endpoint.lastSuccessAt),
      "last failure": timeText(endpoint.lastFailureAt),
    }),
  );
}

function timeText(time: Timestamp | undefined): string {
  return time === undefined ? "never" : timestampDate(time).toISOString();
}
