import {
  CreateWebhookEndpointResponseSchema,
  DeleteWebhookEndpointResponseSchema,
  ListDeadDeliveriesResponseSchema,
  ListWebhookAttemptsResponseSchema,
  ListWebhookEndpointsResponseSchema,
  RedeliverEventResponseSchema,
  ReplayEventsResponseSchema,
  RotateWebhookSecretResponseSchema,
  TestWebhookEndpointResponseSchema,
  WebhookEndpointSchema,
  type PatchbayClient,
  type WebhookEndpoint,
} from "#src/client/node.ts";
import type { WebhookFlags } from "./webhook-commands.ts";
import { facts } from "./facts.ts";
import { listIn } from "./list.ts";
import { pairIn } from "./pair.ts";
import { printJson } from "./print.ts";
import { ask, contentOf } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { table } from "./table.ts";
import { timeText } from "./time-text.ts";
import { wholeNumber } from "./whole-number.ts";

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
  const { description, ordering = "", format = "" } = flags;
  const headers: Record<string, string> = {};
  for (const text of flags.header ?? []) {
    const [name, file] = pairIn("--header", text);
    headers[name] = (await contentOf(file)).toString().trim();
  }
  const wanted = {
    url,
    types: listIn(flags.types),
    ...(description !== undefined && { description }),
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

/** Gives an endpoint other types, for which the caller's key answers from then on. */
export async function changeTypes(id: string, types: string, flags: Shown): Promise<void> {
  const { endpoint } = await ask(flags, ({ webhooks }) =>
    webhooks.updateWebhookEndpoint({ id, types: listIn(types) }),
  );
  if (endpoint !== undefined) show(endpoint, flags);
}

/** Sends `webhook.ping` to an endpoint, and says what came of it. Fails if that was no success. */
export async function testEndpoint(id: string, flags: Shown): Promise<void> {
  const tested = await ask(flags, ({ webhooks }) => webhooks.testWebhookEndpoint({ id }));
  process.exitCode = tested.ok ? 0 : 1;
  if (flags.json) return printJson(TestWebhookEndpointResponseSchema, tested);
  const { ok, status, stage, latencyMs } = tested;
  process.stdout.write(
    ok ? `ok, ${latencyMs} ms\n` : `failed: ${status ?? stage ?? "no answer"}, ${latencyMs} ms\n`,
  );
}

/** Sends nothing to an endpoint until it is resumed. */
export async function pauseEndpoint(id: string, flags: Shown): Promise<void> {
  const { endpoint } = await ask(flags, ({ webhooks }) => webhooks.pauseWebhookEndpoint({ id }));
  if (endpoint !== undefined) show(endpoint, flags);
}

/** Goes on where the endpoint stood, or with what comes from now on. */
export async function resumeEndpoint(id: string, flags: Shown & { now?: true }): Promise<void> {
  const from = flags.now && ({ case: "now", value: true } as const);
  const { endpoint } = await ask(flags, ({ webhooks }) =>
    webhooks.resumeWebhookEndpoint({ id, ...(from && { from }) }),
  );
  if (endpoint !== undefined) show(endpoint, flags);
}

/** Makes a new secret, and prints it: this once. */
export async function rotateSecret(id: string, flags: Shown & { graceSeconds?: string }): Promise<void> {
  const { graceSeconds } = flags;
  const rotated = await ask(flags, ({ webhooks }) =>
    webhooks.rotateWebhookSecret({
      id,
      ...(graceSeconds !== undefined && { graceSeconds: wholeNumber("--grace-seconds", graceSeconds) }),
    }),
  );
  if (flags.json) return printJson(RotateWebhookSecretResponseSchema, rotated);
  const { secret, previousValidUntil } = rotated;
  process.stdout.write(facts({ secret, "previous until": timeText(previousValidUntil) }));
  process.stderr.write("patchbay: give the secret to the receiver; it is not shown again\n");
}

/** Prints what came of the latest tries, newest first. */
export async function listAttempts(id: string, flags: Shown & { failed?: true }): Promise<void> {
  const { failed: failuresOnly = false } = flags;
  const answer = await ask(flags, ({ webhooks }) => webhooks.listWebhookAttempts({ id, failuresOnly }));
  if (flags.json) return printJson(ListWebhookAttemptsResponseSchema, answer);
  const rows = answer.attempts.map((one) => [
    timeText(one.at),
    `${one.log} ${one.seq}`,
    String(one.attempt),
    one.status === undefined ? (one.stage ?? "-") : String(one.status),
    `${one.latencyMs} ms`,
  ]);
  process.stdout.write(table(["AT", "EVENT", "TRY", "ANSWER", "TOOK"], rows));
}

/** Prints the events that were given up. */
export async function listDead(id: string, flags: Shown): Promise<void> {
  const answer = await ask(flags, ({ webhooks }) => webhooks.listDeadDeliveries({ id }));
  if (flags.json) return printJson(ListDeadDeliveriesResponseSchema, answer);
  const rows = answer.deliveries.map((one) => [
    `${one.log} ${one.seq}`,
    String(one.attempts),
    one.lastStatus === undefined ? (one.lastStage ?? "-") : String(one.lastStatus),
    timeText(one.deadAt),
  ]);
  process.stdout.write(table(["EVENT", "TRIES", "LAST", "GIVEN UP"], rows));
}

/** Sends events of a log again, also those that were delivered. */
export async function replay(
  { id, log, from, to }: { id: string; log: string; from: string; to: string },
  flags: Shown & { newId?: true },
): Promise<void> {
  const fromSeq = BigInt(wholeNumber("the first number", from));
  const toSeq = BigInt(wholeNumber("the last number", to));
  const { newId = false } = flags;
  const answer = await ask(flags, ({ webhooks }) =>
    webhooks.replayEvents({ id, log, fromSeq, toSeq, newId }),
  );
  if (flags.json) return printJson(ReplayEventsResponseSchema, answer);
  process.stdout.write(`${answer.queued} events are sent again\n`);
}

/** Sends one event again, also one that was given up. */
export async function redeliver(
  { id, log, number }: { id: string; log: string; number: string },
  flags: Shown & { newId?: true },
): Promise<void> {
  const seq = BigInt(wholeNumber("the number", number));
  const { newId = false } = flags;
  const answer = await ask(flags, ({ webhooks }) => webhooks.redeliverEvent({ id, log, seq, newId }));
  if (flags.json) printJson(RedeliverEventResponseSchema, answer);
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
