import { hash, timingSafeEqual } from "node:crypto";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { EventLog } from "#src/eventlog/eventlog.ts";
import type { Accepted } from "#src/eventlog/intake.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { targetOf } from "#src/platform/http.ts";
import type { OpenAnswer, OpenExchange, OpenRoute } from "#src/platform/open-route.ts";
import type { PublicUrl } from "#src/platform/public-url.ts";
import { createTally } from "#src/platform/tally.ts";
import { within } from "#src/platform/within.ts";
import { clientNameOf } from "#src/ratelimit/client-address.ts";
import { RateLimited } from "#src/ratelimit/errors.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import type { Limits } from "#src/verification/limits.ts";
import { readCloudEvents, type ReadEvent } from "./cloudevents.ts";
import { eventOf, readBody } from "./envelope.ts";
import {
  AddressUnknown,
  BodyTooLarge,
  LoopDetected,
  MethodNotTaken,
  SenderTooSlow,
  UnknownSender,
  UnreadBody,
} from "./errors.ts";
import {
  asksByBody,
  bodyHandshake,
  isSignedForAnybody,
  openHandshake,
  provenHandshake,
} from "./handshakes.ts";
import type { Receiving, ReceivingLookup } from "./receiving.ts";
import { liveSecrets, senderName, type Sender } from "./sender.ts";
import { valuesOf, type HeaderLines, type SignedRequest } from "./signatures/request.ts";
import { verifyTokenOf } from "./verify-token.ts";
import { newAnswerTime, type AnswerTime } from "./answer-time.ts";

const minuteMs = 60_000;
/** Far more than any vendor takes for the longest body, and little enough that slow ones do not pile up. */
const bodySeconds = 10;
/** Long bodies of senders that are not known yet, of one client to one channel at a time. */
const mostUnproven = 64;
/** Look-ups of a client that asked for too many channels that do not exist, at a time. */
const mostGuesses = 8;
const shortBytes = 64 * 1024;
const mostHops = 5;

/** What receiving needs. */
export interface ReceiverParts {
  readonly lookup: ReceivingLookup;
  readonly sender: Sender;
  readonly limits: Limits;
  /** Counts the requests of each channel. */
  readonly callLimiter: RateLimiter;
  readonly eventLog: Pick<EventLog, "accept">;
  readonly publicUrl: PublicUrl;
  readonly pepper: Pepper;
  readonly now: () => Date;
}

/** Takes what other systems send to channels, at `/in/{channel}`. */
export function createReceiver(parts: ReceiverParts): OpenRoute {
  const { lookup, sender, limits, callLimiter, eventLog, publicUrl, pepper, now } = parts;
  const unproven = createTally();

  /** Runs the work, unless at most this many of its name are under way. */
  async function oneOf<T>(most: number, name: string, work: () => Promise<T>): Promise<T> {
    if (unproven.of(name) >= most) throw new RateLimited({ retryAfterMs: 1_000 });
    unproven.add(name, 1);
    try {
      return await work();
    } finally {
      unproven.add(name, -1);
    }
  }

  /** The channel at the path. One that is asked for by a wrong id or segment does not exist. */
  async function channelAt(path: string, client: string, time: AnswerTime): Promise<Receiving> {
    const [, id = "", segment] = /^\/in\/(chn_[0-9A-Z]{26})(?:\/([\w-]{1,128}))?$/.exec(path) ?? [];
    if (id === "") throw new AddressUnknown();
    const known = lookup.recall(id);
    if (known !== undefined && opens(known, segment)) return known;
    try {
      return await limits.limitFailures(senderName(client), async (beforeGuess) => {
        const find = () => time.before(lookup.find(id));
        // Not refused for what others at its address did: many senders share those of one vendor, and no id is guessed.
        const found = known ?? (await beforeGuess().then(find, () => oneOf(mostGuesses, client, find)));
        if (found === undefined || !opens(found, segment)) throw new UnknownSender();
        return found;
      });
    } catch (error) {
      // It was counted like a wrong key, and is answered as an address that does not exist.
      throw error instanceof UnknownSender ? new AddressUnknown() : error;
    }
  }

  async function bodyOf(exchange: OpenExchange, receiving: Receiving, isKnown: boolean): Promise<Buffer> {
    const { orgId, id, receiver } = receiving;
    const { maxBodyBytes } = receiver;
    const read = () =>
      within(
        bodySeconds * 1_000,
        exchange.readBody(maxBodyBytes, `in/${orgId}`),
        () => new SenderTooSlow(bodySeconds),
      );
    const isLong = !(Number(exchange.request.headers["content-length"]) <= shortBytes);
    const name = `${clientNameOf(exchange.call.remoteAddress)} ${id}`;
    const body = await (isLong && !isKnown ? oneOf(mostUnproven, name, read) : read());
    if (body === undefined) throw new BodyTooLarge(maxBodyBytes);
    return body;
  }

  /** The answer to a request of a sender that proved itself. */
  async function take(
    receiving: Receiving,
    request: SignedRequest,
    verified: string,
    time: AnswerTime,
  ): Promise<OpenAnswer> {
    const { orgId, id, receiver } = receiving;
    if (isSignedForAnybody({ receiving, request })) throw new UnknownSender();
    const rate = { limit: receiver.requestsPerMinute, windowMs: minuteMs };
    const budget = await callLimiter.spend(`channel/${id}`, rate);
    if (!budget.allowed) throw new RateLimited(budget);
    const handshake = provenHandshake(partsOf(receiving, request));
    if (handshake !== undefined) return handshake;
    const { events, isBatch } = await eventsOf(receiving, request);
    const arrivals = events.map((event) => ({ ...event, log: id, verified }));
    const accepted =
      arrivals.length === 0 ? [] : await eventLog.accept(orgId, arrivals, undefined, time.leftMs());
    return replyOf(receiving, accepted, isBatch);
  }

  function partsOf(receiving: Receiving, request: SignedRequest) {
    const verifyToken = () => verifyTokenOf(pepper, receiving.id);
    return { receiving, request, secrets: liveSecrets(receiving, now()), verifyToken };
  }

  return {
    name: "Receiver",
    matches: (path) => path.startsWith("/in/"),
    async serve(exchange) {
      const { call, request: raw } = exchange;
      const { path } = targetOf(raw);
      const time = newAnswerTime();
      const receiving = await channelAt(path, clientNameOf(call.remoteAddress), time);
      const { authentication } = receiving.receiver;
      exchange.refuseCredentialsInUrl(authentication === "bearer" ? "ours" : "foreign");
      const bodyless = requestOf(exchange, publicUrl);
      const handshake = openHandshake(partsOf(receiving, bodyless));
      if (handshake !== undefined) return handshake;
      if (raw.method !== "POST") throw new MethodNotTaken();
      refuseUnread(bodyless.headers);
      const byHeaders = sender.isKnownByHeaders(receiving) && !asksByBody({ receiving, request: bodyless });
      const known = byHeaders ? await time.before(sender.require(receiving, bodyless, call)) : undefined;
      const body = await time.uncounted(bodyOf(exchange, receiving, known !== undefined));
      const request = { ...bodyless, body };
      if (known !== undefined) return take(receiving, request, known, time);
      return (
        bodyHandshake({ receiving, request }) ??
        take(receiving, request, await sender.require(receiving, request, call), time)
      );
    },
  };
}

function opens({ segmentHash }: Receiving, segment: string | undefined): boolean {
  if (segmentHash === undefined || segment === undefined) return segmentHash === segment;
  return timingSafeEqual(segmentHash, hash("sha256", segment, "buffer"));
}

function requestOf({ request }: OpenExchange, publicUrl: PublicUrl): SignedRequest {
  const { path, query } = targetOf(request);
  const { method = "", rawHeaders } = request;
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    headers.push([rawHeaders[i] ?? "", rawHeaders[i + 1] ?? ""]);
  const url = `${publicUrl.current()}${path}${query === "" ? "" : `?${query}`}`;
  return { method, url, headers, body: Buffer.alloc(0) };
}

function refuseUnread(headers: HeaderLines): void {
  const coded = valuesOf(headers, "content-encoding").some((coding) => coding.toLowerCase() !== "identity");
  if (coded)
    throw new UnreadBody("the body is compressed: a signature is over the bytes as they are; send them so");
  const hops = valuesOf(headers, "x-qe-hops");
  if (hops.length === 0) return;
  if (hops.length > 1 || !/^\d{1,3}$/.test(hops[0] ?? ""))
    throw new InvalidRequest("x-qe-hops: give one number");
  if (Number(hops[0]) > mostHops) throw new LoopDetected(mostHops);
}

async function eventsOf(
  receiving: Receiving,
  { headers, body }: SignedRequest,
): Promise<{ events: readonly ReadEvent[]; isBatch: boolean }> {
  if (receiving.kind === "cloudevents") return readCloudEvents(headers, body);
  const read = await readBody(receiving, headers, body);
  return { events: [eventOf(receiving.preset, headers, read)], isBatch: false };
}

/** The answer to what is stored. Its number is in a header in any case; of a batch, the last one's. */
function replyOf(
  { id, kind, receiver, preset }: Receiving,
  accepted: readonly Accepted[],
  isBatch: boolean,
): OpenAnswer {
  const seqs = accepted.map(({ seq }) => seq);
  const headers = seqs.length === 0 ? {} : { "x-qe-seq": String(seqs.at(-1)) };
  const fixed = receiver.reply ?? (kind === "webhook" ? fixedReplyOf(preset) : undefined);
  if (fixed !== undefined) {
    const { status, contentType, body } = fixed;
    if (status === 204) return { status, headers };
    return { status, headers: { ...headers, "content-type": contentType }, body: Buffer.from(body) };
  }
  const json = isBatch ? { channel: id, seqs } : { channel: id, seq: seqs[0] };
  const body = Buffer.from(JSON.stringify(json));
  return { status: 200, headers: { ...headers, "content-type": "application/json" }, body };
}

function fixedReplyOf({ reply: { status, body } }: Receiving["preset"]) {
  if (body === undefined && status === 200) return undefined;
  return { status, contentType: body?.contentType ?? "text/plain", body: body?.text ?? "" };
}
