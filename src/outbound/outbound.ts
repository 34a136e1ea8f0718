import { lookup as systemLookup } from "node:dns";
import { connect as connectTcp, type LookupFunction } from "node:net";
import { LRUCache } from "lru-cache";
import { upTo } from "#src/platform/up-to.ts";
import { Overloaded } from "#src/platform/byte-budget.ts";
import { ServiceError } from "#src/platform/errors.ts";
import { isListed, permitsHost, type OutboundAllow } from "./allow.ts";
import { readAnswer } from "./answer.ts";
import { baseUrlText, readBaseUrl, type BaseUrl } from "./base-url.ts";
import type { Hold } from "./body.ts";
import { certificateName, shownCertificate } from "./certificate.ts";
import { createConnector, type Connect, type Connector } from "./connector.ts";
import { createOpenDialogue, type Dialogue, type DialogueRequest } from "./dialogue.ts";
import {
  AddressDenied,
  InvalidBaseUrl,
  InvalidOutboundRequest,
  UpstreamTimeout,
  type Stage,
} from "./errors.ts";
import { notCalled, notLookedUp, upstreamFailure } from "./failures.ts";
import { defaultLimits, type OutboundLimits } from "./limits.ts";
import { createLookups } from "./lookups.ts";
import { requestTarget, type QueryPair } from "./path.ts";
import { createPools } from "./pools.ts";
import { receive } from "./receive.ts";
import { injectedBody } from "./injected-body.ts";
import type { Injection, OutboundCredential } from "./injection.ts";
import { headersOf, injectionFor, methodOf, queryOf } from "./request-head.ts";
import { createCallSlots } from "./call-slots.ts";
import { createStream, type StreamRequest } from "./stream.ts";
import type { StreamReply } from "./streamed-answer.ts";

/** The one way out: every HTTP call that this service makes goes through here. */
export interface Outbound {
  /** Makes the call. Follows no redirect and tries nothing twice. */
  send(request: OutboundRequest): Promise<OutboundReply>;
  /** What `send` would send, and throws what it would throw before. Looks no name up. */
  plan(request: OutboundRequest): Promise<PlannedRequest>;
  /** Makes the call while both bodies stream, and resolves when the answer has begun. */
  stream(request: StreamRequest): Promise<StreamReply>;
  /** Opens a call of gRPC, whose questions are asked one after another. */
  openDialogue(request: DialogueRequest): Promise<Dialogue>;
  /**
   * The base URL in the form to store. Throws InvalidBaseUrl, or AddressDenied as an invalid argument, for
   * one that can never be called; a name is not resolved for that.
   */
  checkBaseUrl(raw: string): string;
  /** The same; clear text is for hosts only that the deployment's list names. */
  checkSecureBaseUrl(raw: string): string;
  /** Cuts the calls under way and closes every socket. */
  close(): Promise<void>;
}

/** A call, as its caller describes it. */
export interface OutboundRequest {
  /** The share that its sockets and look-ups belong to; calls of other shares do not delay it. */
  readonly share: string;
  /** Within the share, calls and sockets of one lane do not delay those of another. */
  readonly lane?: string;
  readonly baseUrl: string;
  /** In capitals. */
  readonly method: string;
  /** Appended to the base URL's path; percent-encoded, begins with a slash. Empty for the base URL itself. */
  readonly path: string;
  /** Not encoded yet. */
  readonly query?: readonly QueryPair[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Sent only to the base URL that it was stored for, or below that. */
  readonly credential?: OutboundCredential;
  readonly timeoutMs?: number;
  /** Takes the received and inflated bytes from a budget; absent, nothing counts them. */
  readonly hold?: Hold;
  /** Instead of the usual limit, how much the answer's body may take. */
  readonly maxAnswerBytes?: number;
  /** Ends the call after the answer's headers, for a caller that wants the status alone: headers and body come back empty. */
  readonly statusOnly?: boolean;
  /**
   * Ends the call after the answer's headers, and leaves the body out. A short one is still taken from the socket, so
   * that the next call can have it.
   */
  readonly headOnly?: boolean;
  /** Called before the first byte is sent to the service. If it was not called, the service has seen nothing. */
  readonly onSent?: () => void;
  /** Its reason is what `send` throws when it aborts. */
  readonly signal?: AbortSignal;
}

/**
 * The service's answer, whatever its status, without headers that concern only us. If it has a content-encoding, the
 * body could not be inflated and is still in it.
 */
export interface OutboundReply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
  readonly latencyMs: number;
  /** When the service's certificate ends; undefined without TLS. */
  readonly certificateExpiresAt?: Date | undefined;
}

/** A request as it is sent, without what only frames it. */
export interface PlannedRequest {
  readonly method: string;
  readonly url: string;
  /** By lower-case name. */
  readonly headers: Record<string, string>;
  readonly body: Buffer | undefined;
}

/** A call on its way, and how far it has come. */
interface CallUnderWay {
  readonly signal: AbortSignal;
  stage: () => Stage;
  /** Whether it has a call slot. If it is in the queue then, it waits for the look-up of other names. */
  hasSlot: boolean;
  /** Once the answer has begun. */
  status: number | undefined;
}

/** What a call without a credential has from it. */
const nothing: Injection = { headers: {}, query: {}, cookies: {}, body: {}, secrets: [] };

/** A lane of their own, as streams may last: they hold up no other calls of the share. */
const streamLane = "streams";

/** An idle socket is not kept longer than this, whatever the service offers, so that DNS changes are seen. */
const maxIdleSocketMs = 30_000;

/** Creates the client. `lookup` and `connect` are the system's unless a test plays the network. */
export function createOutbound(options: {
  readonly allow: OutboundAllow;
  readonly limits?: Partial<OutboundLimits>;
  readonly lookup?: LookupFunction;
  readonly connect?: Connect;
}): Outbound {
  const { allow, lookup = systemLookup, connect = connectTcp } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const slots = createCallSlots(limits);
  const lookupOf = createLookups(lookup);
  const pools = createPools({
    pool: {
      connections: limits.callsPerOrigin,
      allowH2: false,
      // More than is passed on, so that the status of an answer with more is known.
      maxHeaderSize: 4 * limits.headerBytes,
      headersTimeout: limits.headersMs,
      bodyTimeout: limits.idleMs,
      keepAliveMaxTimeout: maxIdleSocketMs,
    },
    maxSockets: limits.sockets,
  });

  function connectorOf(
    { share }: Pick<OutboundRequest, "share">,
    { certificate }: Injection,
    protocol: "http/1.1" | "h2" = "http/1.1",
  ): Connector {
    // Not by lane: the system has two threads for look-ups, which one share would hold with a dead name in each.
    const lookup = lookupOf(share);
    const secureContext = certificate && shownCertificate(certificate);
    const timeoutMs = limits.connectMs;
    return createConnector({ allow, timeoutMs, lookup, connect, secureContext, protocol });
  }

  /** Base URLs that may be called. Nothing that is looked up decides here, so each is judged once. */
  const targets = new LRUCache<string, BaseUrl>(upTo(1_000));

  function targetOf(raw: string, kind: AddressDenied["kind"]): BaseUrl {
    const known = targets.get(raw);
    if (known !== undefined) return known;
    const target = readBaseUrl(raw);
    if (!permitsHost(allow, target.host, target.port)) throw new AddressDenied(target.host, kind);
    targets.set(raw, target);
    return target;
  }

  function askedOf(target: BaseUrl, request: OutboundRequest) {
    const query = request.query ?? [];
    return {
      method: methodOf(request.method),
      query,
      path: requestTarget(target.path, request.path, query),
      body: bodyOf(request.body, limits.bodyBytes),
    };
  }

  async function withCredential(
    target: BaseUrl,
    request: OutboundRequest,
    asked: ReturnType<typeof askedOf>,
  ) {
    const injection = request.credential ? injectionFor(target, request.credential) : nothing;
    const headers = headersOf(request.headers ?? {}, injection);
    const query = queryOf(asked.query, injection);
    const path = query === asked.query ? asked.path : requestTarget(target.path, request.path, query);
    const body = await injectedBody(asked.body, headers, injection.body);
    return { method: asked.method, path, headers, body, injection };
  }

  async function exchange(target: BaseUrl, request: OutboundRequest, call: CallUnderWay) {
    const { origin, host } = target;
    const { signal } = call;
    // Before it waits: what is refused does not need its turn.
    const asked = askedOf(target, request);
    const share = laneOf(request);
    const hold = (bytes: number): void => {
      // Also for what is inflated, which has arrived already.
      signal.throwIfAborted();
      request.hold?.(bytes);
    };
    using _slot = await slots.take({ share, origin, host, bytes: asked.body?.length ?? 0, signal });
    const { method, path, headers, body, injection } = await withCredential(target, request, asked);
    if (body !== asked.body) hold(body?.length ?? 0);
    using pool = pools.open(poolOf(share, target, injection), origin, () => connectorOf(request, injection));
    call.hasSlot = true;
    call.stage = pool.stage;
    const startedAt = performance.now();
    const { headerBytes } = limits;
    const bodyBytes = request.maxAnswerBytes ?? limits.bodyBytes;
    const answer = await receive(
      pool.dispatcher,
      { method, path, headers: [...headers].flat(), body },
      {
        host,
        bodyBytes,
        headerBytes,
        hold,
        signal,
        statusOnly: request.statusOnly === true,
        headOnly: request.headOnly === true,
        started() {
          call.stage = () => "HTTP";
          request.onSent?.();
        },
        begun: (status) => (call.status = status),
      },
    );
    const reply = await readAnswer(answer, { host, secrets: injection.secrets, bodyBytes, hold });
    const latencyMs = performance.now() - startedAt;
    return { ...reply, latencyMs, certificateExpiresAt: pool.certificateExpiresAt() };
  }

  /** The error of a call whose time is up. */
  function outOfTime(host: string, totalMs: number, call: CallUnderWay): UpstreamTimeout {
    const { hasSlot, status } = call;
    const stage = call.stage();
    const seconds = Number((totalMs / 1000).toFixed(3));
    let problem = `did not answer completely in ${seconds} s`;
    if (stage === "QUEUE") problem = hasSlot ? notLookedUp : notCalled(seconds, limits);
    return new UpstreamTimeout(host, problem, { stage, status });
  }

  function applicantFor(
    { share, lane = streamLane }: Pick<StreamRequest, "share" | "lane">,
    { origin, host }: BaseUrl,
  ) {
    return { share: laneOf({ share, lane }), origin, host, bytes: 0 };
  }

  const stream = createStream({
    limits,
    targetOf: (baseUrl) => targetOf(baseUrl, "permission_denied"),
    freeSlot: (request, target) => slots.takeFree(applicantFor(request, target)),
    takeSlot: (request, target, signal) => slots.take({ ...applicantFor(request, target), signal }),
    openPool({ share, lane = streamLane }, target, injection) {
      const pool = poolOf(laneOf({ share, lane }), target, injection);
      return pools.open(pool, target.origin, () => connectorOf({ share }, injection));
    },
  });

  const openDialogue = createOpenDialogue({
    limits,
    targetOf: (baseUrl) => targetOf(baseUrl, "permission_denied"),
    takeSlot: (request, target) => slots.take({ ...applicantFor(request, target), signal: request.signal }),
    connectorOf: (request, injection) => connectorOf(request, injection, "h2"),
  });

  return {
    stream,
    openDialogue,

    async send(request) {
      const target = targetOf(request.baseUrl, "permission_denied");
      const totalMs = Math.min(request.timeoutMs ?? limits.totalMs, limits.totalMs);
      const ending = new AbortController();
      const leave = (): void => ending.abort(request.signal?.reason);
      const call: CallUnderWay = {
        signal: ending.signal,
        stage: () => "QUEUE",
        hasSlot: false,
        status: undefined,
      };
      const timer = setTimeout(() => ending.abort(outOfTime(target.host, totalMs, call)), totalMs);
      request.signal?.addEventListener("abort", leave);
      try {
        request.signal?.throwIfAborted();
        // At once when its time is up or its caller left. Its slot stays taken until undici holds nothing of it.
        return await Promise.race([exchange(target, request, call), whenAborted(ending.signal)]);
      } catch (error) {
        if (error instanceof Overloaded) throw error.afterAnswer(call.status);
        if (error instanceof ServiceError || error === request.signal?.reason) throw error;
        throw upstreamFailure(error, target.host, call.status);
      } finally {
        clearTimeout(timer);
        request.signal?.removeEventListener("abort", leave);
      }
    },

    async plan(request) {
      const target = targetOf(request.baseUrl, "permission_denied");
      const asked = askedOf(target, request);
      const { method, path, headers, body } = await withCredential(target, request, asked);
      return {
        method,
        url: target.origin + path,
        headers: Object.fromEntries(headers),
        body: body ?? undefined,
      };
    },

    checkBaseUrl(raw) {
      return baseUrlText(targetOf(raw, "invalid_argument"));
    },

    checkSecureBaseUrl(raw) {
      const target = targetOf(raw, "invalid_argument");
      const { origin, host, port } = target;
      if (!origin.startsWith("https:") && !isListed(allow, host, port)) {
        throw new InvalidBaseUrl(
          "give an https:// URL; http:// is for hosts only that PATCHBAY_OUTBOUND_ALLOW names",
        );
      }
      return baseUrlText(target);
    },

    async close() {
      await pools.close();
    },
  };
}

/** The lane among those of all shares. */
function laneOf({ share, lane }: Pick<OutboundRequest, "share" | "lane">): string {
  return JSON.stringify([share, lane]);
}

/**
 * The name of the sockets for the call. A socket that was opened with one certificate is that certificate's for good,
 * so calls with another one, or with none, do not get it.
 */
function poolOf(share: string, { origin }: BaseUrl, { certificate }: Injection): string {
  if (certificate === undefined) return share;
  if (!origin.startsWith("https:")) {
    throw new InvalidOutboundRequest(
      "the credential is a client certificate, which is shown only over TLS; the base URL must begin with https://",
    );
  }
  return JSON.stringify([share, certificateName(certificate)]);
}

function bodyOf(body: Buffer | undefined, limitBytes: number): Buffer | null {
  if (body !== undefined && body.length > limitBytes) {
    throw new InvalidOutboundRequest(`body: at most ${limitBytes} bytes are sent`);
  }
  return body ?? null;
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error));
  });
}
