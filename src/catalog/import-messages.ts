import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type {
  CatalogDiffSchema,
  CatalogDriftSchema,
  CatalogRevisionSchema,
  CatalogWatchSchema,
} from "#gen/patchbay/catalog/v1/catalog_pb.js";
import type { ImportProblem } from "#src/operations/import/imported.ts";
import type { ImportDiff, ImportResult } from "#src/operations/import/imports.ts";
import type { Catalog } from "#src/operations/import/revision-store.ts";
import type { KeptRevision } from "#src/operations/import/revision.ts";
import type { CatalogDrift } from "#src/operations/schema.ts";
import type { ServiceDescription } from "#src/operations/service-description.ts";
import { present } from "#src/platform/present.ts";

const mostShown = 200;

/** The problems that an answer shows without being asked for more. */
export function shownProblems(problems: readonly ImportProblem[]): ImportProblem[] {
  return problems.slice(0, mostShown);
}

/** An import as answers show it. */
export function revisionMessage(
  revision: KeptRevision,
  inForce: number,
): MessageInitShape<typeof CatalogRevisionSchema> {
  const { number, digest, format, source, sourceUrl, title, documentVersion, operations, problemCount } =
    revision;
  return present({
    ...{ digest, format, source, sourceUrl, title, documentVersion, operations, problemCount },
    revision: number,
    inForce: number === inForce,
    createdAt: timestampFromDate(revision.createdAt),
  });
}

/** What an import has done, as answers show it. */
export function importedMessage({ imported, revision, diff, problems }: ImportResult) {
  return {
    imported,
    revision: revisionMessage(revision, revision.number),
    diff: diffMessage(diff),
    problems: shownProblems(problems),
  };
}

/** What comes with Patchbay, as answers show it; of other services than siblings that is nothing. */
export function shippedMessage(
  slug: string,
  service: ServiceDescription | undefined,
  inForce: number,
): MessageInitShape<typeof CatalogRevisionSchema> {
  return {
    revision: 0,
    inForce: inForce === 0,
    format: "openapi-3.1",
    source: "shipped",
    title: service?.name ?? slug,
    operations: service?.endpoints.length ?? 0,
  };
}

/** A difference as answers show it. */
export function diffMessage(diff: ImportDiff): MessageInitShape<typeof CatalogDiffSchema> {
  const { added, removed, changed, definition, breaking } = diff;
  return {
    added: [...added],
    removed: [...removed],
    changed: changed.map((one) => ({ ...one, what: [...one.what] })),
    definition: [...definition],
    breaking,
  };
}

/** What is compared daily, and what came of it last. */
export function watchMessages({ watchedThrough, nextCheckAt, checkedAt, drift }: Catalog): {
  watch?: MessageInitShape<typeof CatalogWatchSchema>;
  drift?: MessageInitShape<typeof CatalogDriftSchema>;
  checkedAt?: ReturnType<typeof timestampFromDate>;
} {
  return present({
    watch:
      watchedThrough === undefined
        ? undefined
        : present({
            connectionId: watchedThrough,
            nextCheckAt: nextCheckAt && timestampFromDate(nextCheckAt),
          }),
    drift: drift && driftMessage(drift),
    checkedAt: checkedAt && timestampFromDate(checkedAt),
  });
}

function driftMessage(drift: CatalogDrift): MessageInitShape<typeof CatalogDriftSchema> {
  const { added, removed, changed, breaking, error } = drift;
  return present({ added, removed, changed, breaking, error });
}
