import type { MessageInitShape } from "@bufbuild/protobuf";
import { createHash } from "node:crypto";
import type { EndpointSchema, ServiceSchema } from "#gen/patchbay/catalog/v1/catalog_pb.js";
import type { OutputDrift } from "#src/operations/endpoint-store.ts";
import type { LongWork } from "#src/platform/in-turns.ts";
import { writtenEndpoint, type Offered } from "./endpoint-message.ts";

/** A connected service, and what of it may be on the page. */
export interface Offer {
  /** The connection's. */
  readonly slug: string;
  readonly name: string;
  readonly baseUrl: string;
  /** How many operations it has in all. */
  readonly endpointCount: number;
  /** Whose operations it has. */
  readonly integration: string;
  /** The import that they are of; 0 for what comes with Patchbay. */
  readonly revision: number;
  /** In the order of path and method. Looked at only as far as they are answered. */
  readonly operations: Iterable<Offered>;
  /** Whether it has more than those. */
  readonly isCut: boolean;
  /** Puts definitions behind a schema that refers to them. */
  readonly whole: (schema: string) => string;
  readonly driftOf: (operation: Offered) => OutputDrift | undefined;
}

/** Where a page ended. */
export interface Place {
  /** Behind the service with this slug, */
  readonly after: string;
  /** or inside it. */
  readonly inside?: Inside;
}

/** Behind which endpoint of a service a page ended, and of which import that is. */
export interface Inside {
  readonly path: string;
  readonly method: string;
  readonly revision: number;
}

/** Some services with some of their endpoints. */
export interface ServicePage {
  readonly services: MessageInitShape<typeof ServiceSchema>[];
  /** Where the next page begins; undefined if there is none. */
  readonly end: Place | undefined;
  /** Of all that is in it. */
  readonly digest: string;
}

/** A page stays well below the 4 MiB that clients of gRPC take, in which schemas become a tenth longer. */
export const pageLimits = { endpoints: 500, bytes: 2 * 1024 * 1024 };

/** Takes a millisecond or two. */
const turnLength = 32 * 1024;

/** Puts together as much of what is offered as a page holds, with turns for others between. */
export function* servicePage(offers: readonly Offer[], hasMore: boolean): LongWork<ServicePage> {
  const services: MessageInitShape<typeof ServiceSchema>[] = [];
  const hash = createHash("sha256");
  let last: Place | undefined;
  let count = 0;
  let length = 0;
  let turnEnd = turnLength;
  const ended = (end: Place | undefined): ServicePage => {
    const about = services.map(({ endpoints: _written, ...service }) => service);
    const rest = JSON.stringify([about, end]);
    return { services, end, digest: hash.update(rest).digest("base64url") };
  };

  for (const offer of offers) {
    const { slug, name, baseUrl, endpointCount, integration, revision, operations } = offer;
    const endpoints: MessageInitShape<typeof EndpointSchema>[] = [];
    const service = { slug, name, baseUrl, endpoints, endpointCount };
    for (const operation of operations) {
      const { message, texts } = writtenEndpoint(
        integration,
        operation,
        offer.whole,
        offer.driftOf(operation),
      );
      const more = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
      const fits = count < pageLimits.endpoints && length + more <= pageLimits.bytes;
      // One alone is always answered: it is bounded by itself, and to leave it out would stop the list there.
      if (count > 0 && !fits) {
        if (endpoints.length > 0) services.push(service);
        return ended(last);
      }
      endpoints.push(message);
      for (const text of texts) hash.update(text);
      last = { after: slug, inside: { path: operation.path, method: operation.method, revision } };
      count += 1;
      length += more;
      if (length < turnEnd) continue;
      yield;
      turnEnd = length + turnLength;
    }
    services.push(service);
    if (offer.isCut) return ended(last);
    last = { after: slug };
  }
  return ended(hasMore ? last : undefined);
}
