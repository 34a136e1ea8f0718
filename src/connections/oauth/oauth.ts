import type { ServiceImpl } from "@connectrpc/connect";
import type { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import type { Change } from "#src/audit/change.ts";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Database } from "#src/db/database.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import type { Environment } from "#src/platform/caller.ts";
import type { Loop } from "#src/platform/loop.ts";
import type { Log } from "#src/platform/log.ts";
import type { Meter } from "#src/platform/meter.ts";
import type { Page } from "#src/platform/page.ts";
import type { PublicUrl } from "#src/platform/public-url.ts";
import { createStartAuthorization } from "./authorize.ts";
import { createCallbackPage } from "./callback.ts";
import type { OAuthClients } from "./client.ts";
import { createComplete } from "./complete.ts";
import { createConnectPage } from "./connect.ts";
import { createAskForDevice } from "./device.ts";
import { createDiscover } from "./discovery.ts";
import { createExchange } from "./fetch.ts";
import { createAsParty } from "./party.ts";
import { createRefresh, type Refresh } from "./refresh.ts";
import { createRevoke, type Revoke } from "./revoke.ts";
import { createOAuthSweep } from "./sweep.ts";
import { createAskForTokens } from "./tokens.ts";

/** What OAuth needs of the service around it. */
export interface OAuthShared {
  readonly database: Database;
  readonly change: Change;
  readonly keyring: Keyring;
  readonly outbound: Pick<Outbound, "checkBaseUrl" | "send">;
  readonly oauthClients: OAuthClients;
  readonly oauthReturnOrigins: readonly string[];
  readonly publicUrl: PublicUrl;
  readonly environment: Environment;
  readonly meter: Meter;
  readonly log: Log;
  readonly now: () => Date;
  readonly monotonicNow: () => number;
}

/** Has and keeps the tokens of connections that use OAuth 2.0. */
export interface OAuth {
  readonly startAuthorization: ServiceImpl<typeof ConnectionService>["startAuthorization"];
  readonly pages: ReadonlyMap<string, Page>;
  readonly refresh: Refresh;
  readonly revoke: Revoke;
  readonly sweep: Loop;
  close(): Promise<void>;
}

export function createOAuth(shared: OAuthShared): OAuth {
  const exchange = createExchange(shared.outbound);
  const discover = createDiscover(exchange, shared.monotonicNow);
  const asParty = createAsParty({ clients: shared.oauthClients, discover });
  const ask = createAskForTokens(exchange);
  const complete = createComplete(shared);
  const parts = { ...shared, exchange, asParty, ask, complete, askForDevice: createAskForDevice(exchange) };
  const refresh = createRefresh(parts);
  const sweep = createOAuthSweep({ ...parts, refresh });
  return {
    startAuthorization: createStartAuthorization(parts),
    pages: new Map([
      ["/connect", createConnectPage(parts)],
      ["/oauth/callback", createCallbackPage(parts)],
    ]),
    refresh,
    revoke: createRevoke(parts),
    sweep,
    async close() {
      await sweep.stop();
      await refresh.close();
    },
  };
}
