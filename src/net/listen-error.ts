/** Why the port could not be opened, in words that say what to change. */
export function listenError(error: unknown, host: string, port: number): Error {
  return new Error(explain(error as NodeJS.ErrnoException, host, port), { cause: error });
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): string {
  switch (error.code) {
    case "EADDRINUSE":
      return `port ${port} on ${host} is in use: stop the program that holds it, or choose another with --port`;
    case "EACCES":
      return `port ${port} may not be opened by this user: choose one above 1023 with --port`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EINVAL":
      return `${host} is not an address of this machine: choose one with --host, e.g. 127.0.0.1, or 0.0.0.0 for all`;
    case "ERR_SOCKET_BAD_PORT":
      return `${port} is not a port: choose one from 1 to 65535 with --port`;
    default:
      return `cannot listen on ${host}, port ${port}: ${error.message}`;
  }
}
