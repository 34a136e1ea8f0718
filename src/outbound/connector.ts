import type { LookupAddress, LookupOptions } from "node:dns";
import { once } from "node:events";
import { isIP, type LookupFunction, type Socket, type TcpNetConnectOpts } from "node:net";
import { connect as connectTls, type SecureContext } from "node:tls";
import type { buildConnector } from "undici";
import { permitsAddress, type OutboundAllow } from "./allow.ts";
import { AddressDenied, type Stage } from "./errors.ts";
import { withoutDot } from "./hosts.ts";
import type { Lookup } from "./lookups.ts";

/** Opens a TCP connection, as `net.connect` does. */
export type Connect = (options: TcpNetConnectOpts) => Socket;

/** Why there is no connection, by code: the messages of these errors name addresses. */
export class ConnectFailed extends Error {
  readonly stage: Stage;
  readonly code: string;

  constructor(stage: Stage, code: string) {
    super(`${stage} ${code}`);
    this.stage = stage;
    this.code = code;
  }
}

/** The code of a connect that took longer than its limit. */
export const connectTimeout = "CONNECT_TIMEOUT";

/** One attempt to connect: where to, how far it got, and what to destroy when it must end. */
interface Attempt {
  stage: Stage;
  socket?: Socket;
}

/** Opens the sockets of one pool. */
export interface Connector {
  readonly connect: buildConnector.connector;
  /** How far a call got that has no socket yet: the stage of a connection that is being made, else HTTP. */
  stage(): Stage;
  /** When the certificate ends that the service showed last; undefined if it showed none. */
  certificateExpiresAt(): Date | undefined;
  /** Ends the attempts that are under way. */
  close(): void;
}

/**
 * Opens the sockets that undici speaks on, and lets no byte out to an address that may not be called.
 *
 * undici's own connector would start TLS in the same step that connects, which is too late for the last check.
 */
export function createConnector(options: {
  readonly allow: OutboundAllow;
  readonly timeoutMs: number;
  readonly lookup: Lookup;
  readonly connect: Connect;
  /** Holds the certificate that is shown to services; undefined for none. */
  readonly secureContext: SecureContext | undefined;
  /** What is spoken over TLS. */
  readonly protocol: "http/1.1" | "h2";
}): Connector {
  const { allow, timeoutMs, lookup, connect, secureContext, protocol: spoken } = options;
  const attempts = new Set<Attempt>();
  const closing = new AbortController();
  let lookingUp: Promise<LookupAddress[]> | undefined;
  let waitsForLookup = false;
  let certificateExpiresAt: Date | undefined;

  /** Looks up the pool's only host, once for all attempts at one time. */
  function lookUp(host: string, how: LookupOptions): Promise<LookupAddress[]> {
    if (lookingUp !== undefined) return lookingUp;
    waitsForLookup = true;
    const begun = (): void => void (waitsForLookup = false);
    lookingUp = lookup(host, how, { signal: closing.signal, begun }).finally(() => (lookingUp = undefined));
    return lookingUp;
  }

  /** While another name has the turn, it is not this name that is slow. */
  function stageOf({ stage }: Attempt): Stage {
    return stage === "DNS" && waitsForLookup ? "QUEUE" : stage;
  }

  function end(attempt: Attempt, code: string): void {
    attempt.socket?.destroy(new ConnectFailed(stageOf(attempt), code));
  }

  async function open(target: buildConnector.Options, attempt: Attempt): Promise<Socket> {
    const { hostname: host, protocol } = target;
    const port = Number(target.port || (protocol === "https:" ? 443 : 80));
    const socket = connect({
      host,
      port,
      lookup: checkedLookup(lookUp, attempt, (address) => permitsAddress(allow, host, port, address)),
      autoSelectFamily: true,
      noDelay: true,
      keepAlive: true,
    });
    await established(attempt, socket, "connect");
    if (socket.remoteAddress === undefined) throw new ConnectFailed("TCP", "ECONNRESET");
    if (!permitsAddress(allow, host, port, socket.remoteAddress)) throw new AddressDenied(host);
    if (protocol !== "https:") return socket;
    attempt.stage = "TLS";
    const secure = connectTls({
      socket,
      host,
      ...(isIP(host) === 0 && { servername: withoutDot(host) }),
      ALPNProtocols: [spoken],
      // Said here because an environment variable of Node can turn the default off.
      rejectUnauthorized: true,
      ...(secureContext && { secureContext }),
    });
    await established(attempt, secure, "secureConnect");
    certificateExpiresAt = secure.getPeerX509Certificate()?.validToDate;
    return secure;
  }

  async function openInTime(target: buildConnector.Options): Promise<Socket> {
    const host = target.hostname;
    const attempt: Attempt = { stage: isIP(host) === 0 ? "DNS" : "TCP" };
    const timer = setTimeout(() => end(attempt, connectTimeout), timeoutMs);
    attempts.add(attempt);
    try {
      return await open(target, attempt);
    } catch (error) {
      attempt.socket?.destroy();
      if (error instanceof AddressDenied || error instanceof ConnectFailed) throw error;
      throw new ConnectFailed(attempt.stage, codeOf(error));
    } finally {
      clearTimeout(timer);
      attempts.delete(attempt);
    }
  }

  return {
    connect: (target, callback) => {
      openInTime(target).then(
        (socket) => callback(null, socket),
        (error: Error) => callback(error, null),
      );
    },
    stage: () => {
      const [attempt] = attempts;
      return attempt === undefined ? "HTTP" : stageOf(attempt);
    },
    certificateExpiresAt: () => certificateExpiresAt,
    close: () => {
      closing.abort(new ConnectFailed("DNS", "ECANCELED"));
      for (const attempt of attempts) end(attempt, "ECANCELED");
    },
  };
}

async function established(
  attempt: Attempt,
  socket: Socket,
  event: "connect" | "secureConnect",
): Promise<void> {
  attempt.socket = socket;
  // `once` listens only until the event; an error without a listener would end the process.
  socket.on("error", () => {});
  await once(socket, event);
}

/** A lookup that refuses the whole name if one of its addresses may not be called. */
function checkedLookup(
  lookUp: (host: string, how: LookupOptions) => Promise<LookupAddress[]>,
  attempt: Attempt,
  permitted: (address: string) => boolean,
): LookupFunction {
  return (host, how, callback) => {
    lookUp(host, how).then(
      (addresses) => {
        if (addresses.length === 0) return callback(new ConnectFailed("DNS", "ENOTFOUND"), []);
        if (!addresses.every(({ address }) => permitted(address)))
          return callback(new AddressDenied(host), []);
        attempt.stage = "TCP";
        callback(null, addresses);
      },
      (error: Error) => callback(error, []),
    );
  };
}

function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "UNKNOWN";
}
