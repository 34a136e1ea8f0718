import type { UpdateWebhookEndpointRequest } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { changedFields, jsonName } from "#src/platform/field-mask.ts";
import { endsOfSchedule, formats, orderings, type EndpointSettings } from "./endpoint.ts";
import { ownHeaders } from "./own-headers.ts";

/** What an update changes of an endpoint. */
export interface Changes extends Partial<Omit<EndpointSettings, "headerNames">> {
  readonly headers?: ReadonlyMap<string, string>;
}

/** What always has a value. */
const neverEmpty = [
  "url",
  "types",
  "ordering",
  "after_schedule",
  "format",
  "max_in_flight",
  "failures_only",
] as const;

/** What the request asks for. Throws InvalidRequest for a field that cannot be changed, or not so. */
export function changesFrom(request: UpdateWebhookEndpointRequest): Changes {
  const { url, types, description, ordering, afterSchedule, format, maxInFlight, failuresOnly } = request;
  const isSet = {
    url: url !== undefined,
    types: types.length > 0,
    description: description !== undefined,
    headers: Object.keys(request.headers).length > 0,
    ordering: ordering !== undefined,
    after_schedule: afterSchedule !== undefined,
    format: format !== undefined,
    max_in_flight: maxInFlight !== undefined,
    per_second: request.perSecond !== undefined,
    failures_only: failuresOnly !== undefined,
  };
  const fields = changedFields(
    request.updateMask,
    isSet,
    (field) =>
      new InvalidRequest(
        `${field}: cannot be changed; change one of ${Object.keys(isSet).map(jsonName).join(", ")}`,
      ),
  );
  const cleared = neverEmpty.find((field) => fields.has(field) && !isSet[field]);
  if (cleared !== undefined)
    throw new InvalidRequest(`${jsonName(cleared)}: cannot be cleared; give a value`);
  const has = <T>(field: keyof typeof isSet, value: T | undefined): value is T =>
    fields.has(field) && value !== undefined;
  const [orderingChoice, endChoice, formatChoice] = [
    orderings.find((one) => one === ordering),
    endsOfSchedule.find((one) => one === afterSchedule),
    formats.find((one) => one === format),
  ];
  return {
    ...(has("url", url) && { url }),
    ...(fields.has("types") && { types: [...new Set(types)] }),
    ...(fields.has("description") && { description: description ?? "" }),
    ...(fields.has("headers") && { headers: ownHeaders(request.headers) }),
    ...(has("ordering", orderingChoice) && { ordering: orderingChoice }),
    ...(has("after_schedule", endChoice) && { afterSchedule: endChoice }),
    ...(has("format", formatChoice) && { format: formatChoice }),
    ...(has("max_in_flight", maxInFlight) && { maxInFlight }),
    ...(fields.has("per_second") && { perSecond: request.perSecond }),
    ...(has("failures_only", failuresOnly) && { keepSuccesses: !failuresOnly }),
  };
}
