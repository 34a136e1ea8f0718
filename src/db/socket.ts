import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { Address } from "./address.ts";
import { ConnectionLost } from "./errors.ts";
import type { Tls } from "./url-options.ts";

/** A socket to the server, before anything is sent on it. Failures come as its error event. */
export function openSocket({ target }: Address): Socket {
  return "path" in target ? connect(target.path) : connect(target.port, target.host);
}

/**
 * The socket over which the driver may speak: as it is, or inside TLS, as the address asks for. The driver's own
 * TLS is not used, for it cannot distinguish a server without TLS from one that went away.
 */
export async function secure(socket: Socket, { host, tls }: Address): Promise<Socket> {
  if (tls === undefined || tls.mode === "disable") return socket;
  const options = await tlsOptions(host, tls);
  if (!tls.direct && !(await offersTls(socket))) {
    if (tls.mode === "prefer") return socket;
    throw new ConnectionLost("the server does not speak TLS", "TLS_NOT_OFFERED");
  }
  const secured = connectTls({ ...options, socket });
  await once(secured, "secureConnect");
  return secured;
}

const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

async function offersTls(socket: Socket): Promise<boolean> {
  socket.write(sslRequest);
  const [answer] = (await once(socket, "data")) as [Buffer];
  const said = answer.toString("latin1");
  // Further bytes would be taken for a part of what follows inside TLS, though anyone on the way may have sent them.
  if (said === "S" || said === "N") return said === "S";
  throw new ConnectionLost("the server is not Postgres", "NO_POSTGRES");
}

async function tlsOptions(host: string, tls: Tls): Promise<ConnectionOptions> {
  const { mode, direct, rootCert, identity, keyPassword } = tls;
  return {
    host,
    ...(isIP(host) === 0 && { servername: host }),
    ...(direct && { ALPNProtocols: ["postgresql"] }),
    rejectUnauthorized: mode === "verify-ca" || mode === "verify-full",
    ...(mode !== "verify-full" && { checkServerIdentity: () => undefined }),
    ...(rootCert !== undefined && { ca: await readPem("sslrootcert", rootCert) }),
    ...(identity && {
      cert: await readPem("sslcert", identity.cert),
      key: await readPem("sslkey", identity.key),
    }),
    ...(keyPassword !== undefined && { passphrase: keyPassword }),
  };
}

async function readPem(option: string, file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConnectionLost(`${option} cannot be read: ${code} ${file}`, "TLS_FILE");
  }
}
