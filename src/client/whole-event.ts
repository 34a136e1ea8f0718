import type { Event } from "#gen/patchbay/events/v1/event_pb.js";

/** Reads one event with its data. */
export type GetEvent = (request: { log: string; seq: bigint }) => Promise<{ event?: Event | undefined }>;

/** The event with its data, which messages of many events leave out if it is large. */
export async function wholeEvent(event: Event, getEvent: GetEvent): Promise<Event> {
  if (event.data !== undefined || event.dataBytes === 0) return event;
  const found = await getEvent({ log: event.log, seq: event.seq });
  return { ...event, ...found.event, type: event.type };
}
