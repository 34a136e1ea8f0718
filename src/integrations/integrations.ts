import { IntegrationService } from "#gen/patchbay/integrations/v1/integration_service_pb.js";
import { createFingerprint } from "#src/crypto/fingerprint.ts";
import type { Keyring } from "#src/crypto/keyring.ts";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Tx } from "#src/db/database.ts";
import type { Viewer } from "#src/platform/caller.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { UnknownIntegration } from "./errors.ts";
import { findDescribed } from "./find-described.ts";
import type { Integration } from "./integration.ts";
import { createOAuthClients, type OAuthClients } from "./oauth-clients.ts";
import { createIntegrationService, type IntegrationParts } from "./service.ts";
import { isCustom } from "./slug.ts";
import { undescribed } from "./standard.ts";
import { getOwn, shareOwn } from "./store.ts";

/** Knows what can be connected, and how. */
export interface Integrations extends Feature {
  /**
   * A sibling product, a preset or one of the organisation's own. A well-formed `custom:<slug>` that nobody has
   * defined is one too: with a base URL that each connection gives, and the standard methods.
   */
  find(tx: Tx, viewer: Viewer, slug: string): Promise<Integration | undefined>;
  /**
   * Keeps an integration that was found from being deleted until the transaction ends, which stores a connection of it.
   * Throws `UnknownIntegration` if it was deleted since.
   */
  hold(tx: Tx, viewer: Viewer, found: Pick<Integration, "slug" | "version">): Promise<void>;
  readonly oauthClients: OAuthClients;
}

/** Creates the feature. */
export function createIntegrations(
  shared: IntegrationParts & { readonly keyring: Keyring; readonly pepper: Pepper },
): Integrations {
  const oauthClients = createOAuthClients({ ...shared, fingerprint: createFingerprint(shared.pepper) });
  return {
    services: [serve(IntegrationService, createIntegrationService({ ...shared, oauthClients }))],
    oauthClients,
    async find(tx, { orgId }, slug) {
      return (await findDescribed(tx, orgId, slug)) ?? (isCustom(slug) ? undescribed(slug) : undefined);
    },
    async hold(tx, { orgId }, { slug, version }) {
      // Only what the organisation has described can be deleted.
      if (!isCustom(slug) || version === undescribed(slug).version) return;
      await shareOwn(tx, orgId, slug);
      if ((await getOwn(tx, orgId, slug)) === undefined) throw new UnknownIntegration();
    },
  };
}
