import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EventPlaces, EventPlacesSchema } from "#gen/patchbay/events/v1/channel_pb.js";
import { present } from "#src/platform/present.ts";
import type { Place, Preset } from "./preset.ts";

/** Where a sender that no preset knows says what happened, in place of what the preset `generic` does. */
export type OwnPlaces = Partial<Pick<Preset, "id" | "type" | "subject" | "time">>;

/** The places as whoever makes the channel says them. */
export function placesFrom({ id, type, subject, time }: EventPlaces): OwnPlaces {
  const typeAt = placeFrom(type);
  return present({
    id: placeFrom(id),
    type: typeAt && [typeAt],
    subject: placeFrom(subject),
    time: placeFrom(time),
  });
}

/** The same as callers see it. */
export function placesToMessage({
  id,
  type,
  subject,
  time,
}: OwnPlaces): MessageInitShape<typeof EventPlacesSchema> {
  return present({
    id: placeText(id),
    type: placeText(type?.[0]),
    subject: placeText(subject),
    time: placeText(time),
  });
}

function placeFrom(text: string): Place | undefined {
  if (text === "") return undefined;
  return text.startsWith("/") ? { pointer: text } : { header: text };
}

function placeText(place: Place | undefined): string | undefined {
  if (place === undefined || "formField" in place) return undefined;
  return "header" in place ? place.header : place.pointer;
}
