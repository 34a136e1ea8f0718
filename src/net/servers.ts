import http from "node:http";
import http2 from "node:http2";
import type { Server } from "node:net";
import { Secret } from "#src/platform/secret.ts";
import type { PortLimits } from "./limits.ts";
import { shareConnections } from "./sniff.ts";

/** PEM files of the certificate chain and its private key. */
export interface Tls {
  readonly cert: Buffer;
  readonly key: Secret | Buffer;
}

/** The server that owns the port, and the one that runs HTTP/2 on its connections; with TLS they are the same. */
interface Servers {
  readonly listener: Server & Pick<http.Server, "closeIdleConnections">;
  readonly sessions: http2.Http2Server | http2.Http2SecureServer;
}

/** HTTP/1.1 and HTTP/2 with prior knowledge. */
export function cleartextServers(limits: PortLimits): Servers {
  const listener = http.createServer(http1Options(limits));
  const sessions = http2.createServer(http2Options(limits));
  shareConnections(listener, sessions, limits.firstBytesMs);
  return { listener, sessions };
}

/** HTTP/1.1 and HTTP/2 over TLS, as the client chooses by ALPN. */
export function secureServers({ cert, key }: Tls, limits: PortLimits): Servers {
  const options = {
    ...http1Options(limits),
    ...http2Options(limits),
    allowHTTP1: true,
    minVersion: "TLSv1.2",
    handshakeTimeout: limits.firstBytesMs,
    cert,
    key: key instanceof Secret ? key.reveal() : key,
  } as const;
  try {
    const server = http2.createSecureServer(options);
    // Node's server has the method; its types do not know.
    return { listener: server as typeof server & Servers["listener"], sessions: server };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(
      `the TLS certificate and key cannot be used (${code}): set PATCHBAY_TLS_CERT and PATCHBAY_TLS_KEY to PEM files ` +
        "that belong together",
      { cause: error },
    );
  }
}

function http1Options(limits: PortLimits) {
  return {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    // How late the two timeouts above may be noticed; Node's default is 30 seconds.
    connectionsCheckingInterval: Math.ceil(limits.headersMs / 10),
    // Probes of TCP find clients that vanished without a word while a stream of theirs is quiet.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
    // The port refuses it, and says why.
    requireHostHeader: false,
  };
}

// Left at Node's defaults, which hold: settings and ping floods, endless continuations.
function http2Options(limits: PortLimits) {
  return {
    settings: {
      maxConcurrentStreams: limits.streamsPerConnection,
      maxHeaderListSize: limits.headerBytes,
    },
    // A stream that Node refuses is no offence: until the next turn of the event loop, it counts those that were reset.
    maxSessionRejectedStreams: limits.streamsPerConnection,
    // Nor is it to give up on all calls at once, or on a thousand a second, whose deadlines pass: what is reset before
    // its turn has cost next to nothing. Node's rate is 33 a second.
    streamResetBurst: 2 * limits.streamsPerConnection,
    streamResetRate: limits.streamsPerConnection,
  };
}
