import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CatalogService } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import { ServiceNotConnected } from "#src/connections/errors.ts";
import type { Database } from "#src/db/database.ts";
import { callerOf } from "#src/platform/caller.ts";
import { isKnownAnswer } from "#src/platform/etag.ts";
import { inTurns } from "#src/platform/in-turns.ts";
import { InvalidPageToken, placeOfToken, tokenOfPlace } from "#src/platform/paging.ts";
import { readOffers, type Wanted } from "./offers.ts";
import { servicePage, type Place, type ServicePage } from "./service-page.ts";

const defaultPageSize = 200;

/** Says what connected services offer, page by page. See the contract. */
export function createListServices(parts: {
  database: Database;
}): Pick<ServiceImpl<typeof CatalogService>, "listServices" | "getService"> {
  const { database } = parts;

  async function read(
    asked: Omit<Wanted, "after"> & { readonly pageToken: string },
    context: HandlerContext,
  ): Promise<ServicePage> {
    const caller = callerOf(context);
    const place = placeOf(asked.pageToken);
    if (asked.only !== undefined && place !== undefined && place.after !== asked.only)
      throw new InvalidPageToken();
    const { offers, hasMore } = await database.read(caller.orgId, (tx) =>
      readOffers(tx, caller, { ...asked, after: place }),
    );
    return inTurns(servicePage(offers, hasMore));
  }

  return {
    async listServices({ pageSize, pageToken, slug, withoutEndpoints }, context) {
      const only = slug === "" ? undefined : slug;
      const limit = pageSize || defaultPageSize;
      const page = await read({ pageToken, only, limit, withoutEndpoints }, context);
      return isKnownAnswer(context, page.digest) ? {} : { catalog: page.services, ...nextOf(page) };
    },

    async getService({ slug, pageToken }, context) {
      const page = await read({ pageToken, only: slug, limit: 1, withoutEndpoints: false }, context);
      const [service] = page.services;
      if (service === undefined) throw new ServiceNotConnected();
      return isKnownAnswer(context, page.digest) ? {} : { service, ...nextOf(page) };
    },
  };
}

function nextOf({ end }: ServicePage): { nextPageToken?: string } {
  if (end === undefined) return {};
  const { after, inside } = end;
  const within = inside === undefined ? [] : [inside.path, inside.method, String(inside.revision)];
  return { nextPageToken: tokenOfPlace([after, ...within]) };
}

function placeOf(token: string): Place | undefined {
  const place = placeOfToken(token, [1, 4]);
  if (place === undefined) return undefined;
  const [after = "", path, method = "", number = ""] = place;
  if (path === undefined) return { after };
  if (!/^\d{1,9}$/.test(number)) throw new InvalidPageToken();
  return { after, inside: { path, method, revision: Number(number) } };
}
