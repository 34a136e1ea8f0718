import type { Tx } from "#src/db/database.ts";
import type { Integration } from "#src/integrations/integration.ts";
import { isCustom } from "#src/integrations/slug.ts";
import { getOwn } from "#src/integrations/store.ts";
import { getCatalog, getRevision, lockCatalog, type Catalog } from "./revision-store.ts";
import type { KeptRevision } from "./revision.ts";

/** What an organisation knows of a service before an import. */
export interface Known {
  readonly catalog: Catalog | undefined;
  /** The number of the import in force; 0 for what comes with Patchbay. */
  readonly inForce: number;
  /** Undefined for what comes with Patchbay. */
  readonly revision: KeptRevision | undefined;
  /** Whether the integration is one of the organisation's own, so that a document may define it. */
  readonly isOwn: boolean;
  /** The integration, if the organisation has defined it. */
  readonly own: Integration | undefined;
}

/** Reads it; `locked`, it stays so until the transaction ends. */
export async function look(tx: Tx, orgId: string, slug: string, how?: "locked"): Promise<Known> {
  const catalog = await (how === "locked" ? lockCatalog : getCatalog)(tx, orgId, slug);
  const inForce = catalog?.inForce ?? 0;
  const isOwn = isCustom(slug);
  return {
    ...{ catalog, inForce, isOwn },
    revision: inForce === 0 ? undefined : await getRevision(tx, { orgId, slug, number: inForce }),
    own: isOwn ? await getOwn(tx, orgId, slug) : undefined,
  };
}
