import type { OAuth2Method } from "#src/integrations/integration.ts";
import type { Connection } from "../connection.ts";
import type { OAuthClients } from "./client.ts";
import type { Discover } from "./discovery.ts";
import { TokenFailure } from "./token-failure.ts";
import type { TokenParty } from "./tokens.ts";

/** The part of a connection that says with whom its tokens are had. */
export type Granted = Pick<Connection, "orgId" | "environment" | "integration" | "authMethod" | "recipe">;

/** How OAuth is spoken with a connection's service; undefined for one that signs in otherwise. */
export function oauth2Of({ recipe }: Pick<Connection, "recipe">): OAuth2Method | undefined {
  return recipe.method.oauth2;
}

/** Runs the work as the OAuth client of a connection, and wipes its secret. Throws `TokenFailure`. */
export type AsParty = <T>(connection: Granted, work: (party: TokenParty) => Promise<T>) => Promise<T>;

export function createAsParty(parts: { clients: OAuthClients; discover: Discover }): AsParty {
  const { clients, discover } = parts;
  return async (connection, work) => {
    const { orgId, integration, authMethod } = connection;
    const method = oauth2Of(connection);
    if (method === undefined) throw new Error("the connection does not use OAuth");
    const client = await clients.get(connection, integration, authMethod);
    if (client === undefined) {
      throw new TokenFailure(
        "unavailable",
        `your organisation has no OAuth client for ${integration}; register one there, and store it with ` +
          `PUT /api/integrations/${integration}/auth-methods/${authMethod}/client`,
      );
    }
    using _wiped = client.secret;
    return await work({ orgId, client, method: await discover(orgId, method) });
  };
}
