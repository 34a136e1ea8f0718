import { create, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type Event, EventSchema } from "#gen/patchbay/events/v1/event_pb.js";
import type { EventReader } from "#src/client/webhooks/missed.ts";
import type { LoggedEvent } from "#src/eventlog/event.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createDeliver, type Delivery, type Receiver } from "#src/webhooks/delivery.ts";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { delivery, loggedEvent, receiver } from "../support/deliveries.ts";

const log = "chn_1";

/** A log with an event for each number, of which the endpoint selects those of the type `payment.made`. */
export class PlayedLog implements EventReader, AsyncDisposable {
  readonly events: LoggedEvent[];
  /** What was asked for. */
  readonly asked: number[] = [];
  /** The first that is kept. */
  earliest = 1;
  readonly #outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1") });
  readonly #deliver = createDeliver({ outbound: this.#outbound, now: () => new Date() });
  readonly #running = new AbortController();

  constructor(types: readonly string[]) {
    this.events = types.map((type, index) =>
      loggedEvent({
        log,
        seq: index + 1,
        id: `e${index + 1}`,
        type,
        data: Buffer.from(`{ "n": ${index + 1}.0 }`),
      }),
    );
  }

  /** Those that the endpoint is sent, each with the one before it. */
  get selected(): Delivery[] {
    const selected = this.events.filter(({ type }) => type === "payment.made");
    return selected.map((event, index) => delivery(event, { previous: selected[index - 1]?.seq ?? null }));
  }

  /** Sends one as the service does, and answers the status; undefined if nobody did. */
  async send(
    url: string,
    delivery: Delivery | undefined,
    to: Partial<Receiver> = {},
  ): Promise<number | undefined> {
    if (delivery === undefined) throw new Error("nothing to send");
    return (await this.#deliver(receiver(url, to), delivery, this.#running.signal)).status;
  }

  async listEvents({ after }: { after: bigint }): Promise<{ events: Event[]; position: bigint }> {
    this.asked.push(Number(after));
    if (after < this.earliest - 1) {
      const metadata = { earliest: String(this.earliest) };
      const info = {
        desc: ErrorInfoSchema,
        value: { domain: "patchbay", reason: "CURSOR_EXPIRED", metadata },
      };
      throw new ConnectError("no longer kept", Code.OutOfRange, undefined, [info]);
    }
    const read = this.events.filter(({ seq }) => seq > after).slice(0, 10);
    const events = read
      .filter(({ type }) => type === "payment.made")
      .map((event) =>
        create(EventSchema, message(event, { withData: (event.data?.length ?? 0) < mostListed })),
      );
    return { events, position: BigInt(read.at(-1)?.seq ?? after) };
  }

  async getEvent({ seq }: { seq: bigint }) {
    const event = this.events[Number(seq) - 1];
    return { event: event && create(EventSchema, message(event, { withData: true })) };
  }

  /** The same in JSON, for receivers in processes of their own. */
  async page(after: bigint) {
    const { events, position } = await this.listEvents({ after });
    return { events: events.map((event) => toJson(EventSchema, event)), position: String(position) };
  }

  async [Symbol.asyncDispose]() {
    this.#running.abort();
    await this.#outbound.close();
  }
}

/** Larger data is left out of lists. */
const mostListed = 1_000;

function message(
  event: LoggedEvent,
  { withData }: { withData: boolean },
): MessageInitShape<typeof EventSchema> {
  const { log, seq, receivedAt, id, source, type, extensions, verified, data, contentType } = event;
  return {
    ...{ log, id, source, type, verified, seq: BigInt(seq), receivedAt: timestampFromDate(receivedAt) },
    ...{ extensions: { ...extensions }, dataBytes: data?.length ?? 0 },
    ...(data && withData && { data }),
    ...(contentType !== undefined && { dataContentType: contentType }),
  };
}
