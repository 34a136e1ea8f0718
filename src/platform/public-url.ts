/** Where browsers find this deployment. */
export interface PublicUrl {
  /** Without a slash at its end. */
  current(): string;
  /** Learns where the port was opened, which it is if the operator named no other place, and answers that. */
  opened(address: Address): Address;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** `given` by the operator, who may have a proxy in front; else the address that the service listens on. */
export function createPublicUrl(given: string | undefined, isTls: boolean): PublicUrl {
  let current = given;
  return {
    current() {
      if (current === undefined) throw new Error("the port is not open yet, so nobody can have called");
      return current;
    },
    opened(address) {
      const { host, port } = address;
      // No browser can go to all addresses; this machine's own can.
      const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
      const authority = name.includes(":") ? `[${name}]` : name;
      current ??= new URL(`${isTls ? "https" : "http"}://${authority}:${port}`).origin;
      return address;
    },
  };
}
