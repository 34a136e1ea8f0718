import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CatalogService, ImportOpenApiRequest } from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import type { Database, Tx } from "#src/db/database.ts";
import { UnknownIntegration } from "#src/integrations/errors.ts";
import { findDescribed } from "#src/integrations/find-described.ts";
import { isBuiltIn, isCustom } from "#src/integrations/slug.ts";
import { UnknownRevision } from "#src/operations/import/errors.ts";
import type { Imports } from "#src/operations/import/imports.ts";
import {
  getCatalog,
  getProblems,
  getRevision,
  listRevisions,
  type Catalog,
} from "#src/operations/import/revision-store.ts";
import type { Revision } from "#src/operations/import/revision.ts";
import { shippedDescription } from "#src/operations/shipped.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { InvalidPageToken, nextPage, readPage } from "#src/platform/paging.ts";
import type { AskGrpc } from "./ask-grpc.ts";
import { documentOf, fetchDocument, fetchingFor } from "./document.ts";
import {
  diffMessage,
  importedMessage,
  revisionMessage,
  shippedMessage,
  shownProblems,
  watchMessages,
} from "./import-messages.ts";

const defaultPageSize = 100;
/** Beyond every revision that there can be. */
const beyondAll = 2 ** 31 - 1;

type ImportService = Pick<
  ServiceImpl<typeof CatalogService>,
  "previewImport" | "importOpenApi" | "importGrpc" | "listRevisions" | "getRevision" | "activateRevision"
>;

/** Imports documents, and keeps what was imported. See the contract, `catalog_service.proto`. */
export function createImportService(parts: {
  database: Database;
  outbound: Pick<Outbound, "send">;
  imports: Imports;
  askGrpc: AskGrpc;
}): ImportService {
  const { database, outbound, imports, askGrpc } = parts;

  async function targetOf(slug: string, context: HandlerContext) {
    const { orgId } = callerOf(context);
    if (!isCustom(slug)) await database.read(orgId, (tx) => requireDescribed(tx, orgId, slug));
    return { orgId, slug, signal: context.signal };
  }

  function sourceOf({ source }: Pick<ImportOpenApiRequest, "source">, context: HandlerContext) {
    if (source.case === "url") return fetchDocument(outbound, source.value, fetchingFor(context));
    callOf(context).holding?.grow(source.value?.length ?? 0);
    return documentOf(source.value ?? new Uint8Array(), { source: "document" });
  }

  return {
    async previewImport(request, context) {
      const target = await targetOf(request.slug, context);
      const document = await sourceOf(request, context);
      const found = await imports.preview(target, document);
      const { format, title, operations, problemCount, isInForce: inForce } = found;
      return {
        ...{ format, title, operations, problemCount, inForce },
        diff: diffMessage(found.diff),
        problems: shownProblems(found.problems),
      };
    },

    async importOpenApi(request, context) {
      const target = await targetOf(request.slug, context);
      const document = await sourceOf(request, context);
      return importedMessage(await imports.run(callOf(context), target, document));
    },

    async importGrpc({ slug, source }, context) {
      const target = await targetOf(slug, context);
      const descriptors =
        source.case === "descriptorSet" ? source.value : await askGrpc(slug, source.value, context);
      callOf(context).holding?.grow(descriptors.length);
      const document = await documentOf(descriptors, { source: "grpc" });
      return importedMessage(await imports.run(callOf(context), target, document));
    },

    async listRevisions(request, context) {
      const { orgId } = callerOf(context);
      const { slug } = request;
      return database.read(orgId, async (tx) => {
        await requireDescribed(tx, orgId, slug);
        const catalog = (await getCatalog(tx, orgId, slug)) ?? nothingKept;
        const page = await readPage(
          request,
          defaultPageSize,
          ({ after, limit }) =>
            revisionsAfter(tx, { orgId, slug, number: numberIn(after, beyondAll) }, limit, catalog),
          ({ revision }) => String(revision),
        );
        return { revisions: page.items, ...nextPage(page), ...watchMessages(catalog) };
      });
    },

    async getRevision(request, context) {
      const { orgId } = callerOf(context);
      const { slug, revision: number } = request;
      const wanted = { orgId, slug, number };
      return database.read(orgId, async (tx) => {
        const revision = await requireRevision(tx, wanted);
        const problems = await getProblems(tx, wanted);
        const page = await readPage(
          request,
          defaultPageSize,
          async ({ after, limit }) => {
            const from = numberIn(after, 0);
            return problems.slice(from, from + limit).map((problem, i) => ({ problem, next: from + i + 1 }));
          },
          ({ next }) => String(next),
        );
        return { revision, problems: page.items.map(({ problem }) => problem), ...nextPage(page) };
      });
    },

    async activateRevision({ slug, revision: number }, context) {
      const { orgId } = callerOf(context);
      const wanted = { orgId, slug, number };
      await database.read(orgId, (tx) => requireRevision(tx, wanted));
      const definition = await imports.activate(callOf(context), wanted);
      const revision = await database.read(orgId, (tx) => requireRevision(tx, wanted));
      return { revision, definition: [...definition] };
    },
  };
}

const nothingKept: Catalog = {
  inForce: 0,
  watchedThrough: undefined,
  nextCheckAt: undefined,
  checkedAt: undefined,
  drift: undefined,
  definition: undefined,
};

async function requireDescribed(tx: Tx, orgId: string, slug: string): Promise<void> {
  if ((await findDescribed(tx, orgId, slug)) === undefined) throw new UnknownIntegration();
}

async function requireRevision(tx: Tx, revision: Revision) {
  const { orgId, slug, number } = revision;
  await requireDescribed(tx, orgId, slug);
  const inForce = (await getCatalog(tx, orgId, slug))?.inForce ?? 0;
  if (number === 0) return shippedMessage(slug, shippedDescription(slug), inForce);
  const found = await getRevision(tx, revision);
  if (found === undefined) throw new UnknownRevision();
  return revisionMessage(found, inForce);
}

/** Those before this number, and last what comes with Patchbay. */
async function revisionsAfter(tx: Tx, before: Revision, limit: number, { inForce }: Catalog) {
  const kept = await listRevisions(tx, before, limit);
  const messages = kept.map((one) => ({ ...revisionMessage(one, inForce), revision: one.number }));
  if (kept.length === limit || before.number === 0 || !isBuiltIn(before.slug)) return messages;
  return [
    ...messages,
    { ...shippedMessage(before.slug, shippedDescription(before.slug), inForce), revision: 0 },
  ];
}

/** The number in a page's token. */
function numberIn(after: string, first: number): number {
  if (after === "") return first;
  if (!/^\d{1,9}$/.test(after)) throw new InvalidPageToken();
  return Number(after);
}
