import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { ServiceNotConnected } from "#src/connections/errors.ts";
import type { Database } from "#src/db/database.ts";
import { callerOf } from "#src/platform/caller.ts";
import { isKnownAnswer } from "#src/platform/etag.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import { InvalidPageToken, placeOfToken, tokenOfPlace } from "#src/platform/paging.ts";
import { readOffers } from "./offers.ts";
import { servicePage, type Place, type ServicePage } from "./service-page.ts";

const defaultPageSize = 200;

/** Says what connected services offer, page by page. See the contract. */
export function createListServices(parts: {
  database: Database;
}): Pick<ServiceImpl<typeof CatalogService>, "listServices" | "getService"> {
  const { database } = parts;

  async function read(
    asked: { pageToken: string; only?: string; limit: number },
    context: HandlerContext,
  ): Promise<ServicePage> {
    const caller = callerOf(context);
    const after = placeOf(asked.pageToken);
    if (asked.only !== undefined && after !== undefined && after[0] !== asked.only)
      throw new InvalidPageToken();
    const { offers, hasMore } = await database.read(caller.orgId, (tx) =>
      readOffers(tx, caller, { after, only: asked.only, limit: asked.limit }),
    );
    return inTurns(servicePage(offers, hasMore));
  }

  return {
    async listServices({ pageSize, pageToken, slug }, context) {
      const only = slug === "" ? {} : { only: slug };
      const page = await read({ pageToken, ...only, limit: pageSize || defaultPageSize }, context);
      return isKnownAnswer(context, page.digest) ? {} : { catalog: page.services, ...nextOf(page) };
    },

    async getService({ slug, pageToken }, context) {
      const page = await read({ pageToken, only: slug, limit: 1 }, context);
      const [service] = page.services;
      if (service === undefined) throw new ServiceNotConnected();
      return isKnownAnswer(context, page.digest) ? {} : { service, ...nextOf(page) };
    },
  };
}

function nextOf({ end }: ServicePage): { nextPageToken?: string } {
  return end === undefined ? {} : { nextPageToken: tokenOfPlace(end) };
}

function placeOf(token: string): Place | undefined {
  const place = placeOfToken(token, [1, 3]);
  if (place === undefined) return undefined;
  const [slug = "", path, method] = place;
  return path === undefined || method === undefined ? [slug] : [slug, path, method];
}
