/** What a client may take of the port before it is refused or cut off. Times are milliseconds. */
export interface PortLimits {
  /** Bytes of all headers of one request. Beyond: 431, or a reset stream on HTTP/2. */
  readonly headerBytes: number;
  /** Time for the first bytes of a connection, and for a TLS handshake. Beyond: closed. */
  readonly firstBytesMs: number;
  /** Time for all headers of an HTTP/1.1 request. Beyond: 408. */
  readonly headersMs: number;
  /** Time for a whole request, body included. Beyond: 408, or a reset stream on HTTP/2. */
  readonly requestMs: number;
  /** Time in which neither the rest of a request arrives nor any of its response is taken. Beyond: cut. */
  readonly stalledMs: number;
  /** Requests that one connection has running: streams on HTTP/2, pipelined requests on HTTP/1.1. */
  readonly requestsPerConnection: number;
  /** Streams that one HTTP/2 connection has open: beside those that run, some may wait for their turn. */
  readonly streamsPerConnection: number;
  /** Streams of all connections that wait. Beyond: refused, so that the client tries again. */
  readonly waitingStreams: number;
  /** Connections at one time. Beyond: closed as soon as they open. */
  readonly connections: number;
  /** Time an HTTP/1.1 connection may be without a request; longer than a usual proxy's, which must close first. */
  readonly keepAliveMs: number;
  /** Time an HTTP/2 connection may be without a stream. Beyond: GOAWAY. */
  readonly sessionIdleMs: number;
  /** Time a client has to close its side once it was asked to. Beyond: closed for it. */
  readonly lingerMs: number;
}

/** The limits of a port that serves people and services, with room for a slow network. */
export const defaultLimits: PortLimits = {
  headerBytes: 16 * 1024,
  firstBytesMs: 10_000,
  headersMs: 10_000,
  requestMs: 300_000,
  stalledMs: 60_000,
  requestsPerConnection: 100,
  streamsPerConnection: 1_000,
  waitingStreams: 10_000,
  connections: 10_000,
  keepAliveMs: 65_000,
  sessionIdleMs: 300_000,
  lingerMs: 1_000,
};
