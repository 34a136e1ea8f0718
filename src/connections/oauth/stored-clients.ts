import type { Database } from "#src/db/database.ts";
import { and, eq } from "#src/db/drizzle.cjs";
import { oauthClients } from "#src/integrations/schema.ts";
import type { OAuthClients } from "./client.ts";

/** The public clients of organisations: those without a secret. */
export function createStoredClients(database: Database): OAuthClients {
  return {
    async get({ orgId, environment }, integration, authMethod) {
      const [row] = await database.read(orgId, (tx) =>
        tx
          .select({ clientId: oauthClients.clientId, boundTo: oauthClients.boundTo })
          .from(oauthClients)
          .where(
            and(
              eq(oauthClients.orgId, orgId),
              eq(oauthClients.environment, environment),
              eq(oauthClients.integration, integration),
              eq(oauthClients.authMethod, authMethod),
            ),
          ),
      );
      return row;
    },
  };
}
