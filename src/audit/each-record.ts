const pageSize = 500;

/** Does the work for each of the records that are found, page by page in the order of their organisations. */
export async function forEachRecord<Found extends { readonly orgId: string }>(
  find: (behind: string, most: number) => Promise<readonly Found[]>,
  work: (found: Found) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const isOver = () => signal.aborted;
  let behind: string | undefined = "";
  while (behind !== undefined && !isOver()) {
    const page: readonly Found[] = await find(behind, pageSize);
    for (const found of page) {
      if (isOver()) return;
      await work(found);
    }
    behind = page.length < pageSize ? undefined : page.at(-1)?.orgId;
  }
}
