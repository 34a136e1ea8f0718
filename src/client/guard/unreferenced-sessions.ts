import type { ClientSessionOptions, SecureClientSessionOptions } from "node:http2";
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Http2SessionManager } from "@connectrpc/connect-node";

/** Connections that do not keep the process alive, whatever is open on them: the stream of a guard is always open. */
export class UnreferencedSessions extends Http2SessionManager {
  #socket: Socket | undefined;

  constructor(...[url, pings, options]: ConstructorParameters<typeof Http2SessionManager>) {
    super(url, pings, {
      createConnection: (authority) => (this.#socket = connectTo(authority, options).unref()),
      ...options,
    });
  }

  override async request(...call: Parameters<Http2SessionManager["request"]>) {
    const stream = await super.request(...call);
    stream.session?.unref();
    return stream;
  }

  override abort(reason?: Error): void {
    super.abort(reason);
    // A session that is given up while it connects leaves its socket behind, which would go on connecting for minutes.
    this.#socket?.destroy();
  }
}

/** The socket that node:http2 would open itself. */
function connectTo(
  { protocol, hostname, port }: URL,
  options: ClientSessionOptions | SecureClientSessionOptions | undefined,
): Socket {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (protocol === "http:") return connect({ ...options, host, port: Number(port || 80) });
  const servername = isIP(host) === 0 ? { servername: host } : {};
  return connectTls({ ...servername, ...options, host, port: Number(port || 443), ALPNProtocols: ["h2"] });
}
