import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { createGuard, type Guard, type GuardOptions } from "#src/client/guard/guard.ts";
import { startService, type TestService, type TestServiceOptions } from "../support/service.ts";

/** The real service, and what a sibling is made of that has its keys verified there. */
export interface Sibling extends AsyncDisposable {
  readonly service: TestService;
  /** A key for whoever calls the sibling; with the scope `rules:view` unless told otherwise. */
  newKey(fields?: NewKey): Promise<{ readonly id: string; readonly secret: string }>;
  /** A guard, whose own key may verify others unless another one is given. */
  newGuard(options?: Partial<GuardOptions>): Promise<Guard>;
  /** Lets a server listen; answers its `host:port`. */
  serve(server: Server): Promise<string>;
}

export interface NewKey {
  readonly name?: string;
  readonly scopes?: string[];
  readonly expiresAt?: Timestamp;
  readonly actAsUserId?: string;
  readonly rateLimitPerMinute?: number;
  readonly allowedCidrs?: string[];
}

export async function startSibling(options: TestServiceOptions = {}): Promise<Sibling> {
  const service = await startService(options);
  const held = new AsyncDisposableStack();
  held.use(service);

  async function newKey(fields: NewKey = {}) {
    const key = { name: "caller", scopes: ["rules:view"], ...fields };
    const { apiKey, secret } = await service.org.client.apiKeys.createApiKey(key);
    return { id: apiKey!.id, secret };
  }

  return {
    service,
    newKey,
    async newGuard(given = {}) {
      const apiKey = given.apiKey ?? (await newKey({ name: "guard", scopes: ["keys:verify"] })).secret;
      const guard = createGuard({ baseUrl: service.url, ...given, apiKey });
      held.defer(() => guard.close());
      return guard;
    },
    async serve(server) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      held.defer(() => void server.close());
      return `127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}
