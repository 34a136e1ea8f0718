/** Why the port that a flag chooses could not be opened, in words that say what to change. */
export function listenError(error: unknown, host: string, port: number, flag = "--port"): Error {
  return new Error(explain(error as NodeJS.ErrnoException, host, port, flag), { cause: error });
}

function explain(error: NodeJS.ErrnoException, host: string, port: number, flag: string): string {
  switch (error.code) {
    case "EADDRINUSE":
      return `port ${port} on ${host} is in use: stop the program that holds it, or choose another with ${flag}`;
    case "EACCES":
      return `port ${port} may not be opened by this user: choose one above 1023 with ${flag}`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EINVAL":
      return `${host} is not an address of this machine: choose one with --host, e.g. 127.0.0.1, or 0.0.0.0 for all`;
    case "ERR_SOCKET_BAD_PORT":
      return `${port} is not a port: choose one from 1 to 65535 with ${flag}`;
    default:
      return `cannot listen on ${host}, port ${port}: ${error.message}`;
  }
}
