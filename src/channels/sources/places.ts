import { createKeyedLimit } from "#src/platform/keyed-limit.ts";
import { createTally } from "#src/platform/tally.ts";
import type { ClaimedSource } from "./source.ts";

/** Bounds how many sources this replica reads at once. */
export interface Places {
  /** Reads the source when its turn comes. Or answers at once what it waits for, in words for people. */
  read(source: ClaimedSource, work: () => Promise<void>): Promise<void> | string;
}

const maxStreams = { perHost: 50, perOrganisation: 200, inAll: 500 };
/** Polls are short, so they wait here for each other. Beyond this many they wait in the table. */
const maxClaimedPolls = { perHost: Infinity, perOrganisation: 250, inAll: 900 };
const maxPolls = { perHost: 4, perOrganisation: 16, inAll: 64 };

/** A host is the same for many organisations, and each has places of its own there: none can hold up the others. */
export function createPlaces(): Places {
  const taken = createTally();
  const pollTurn = createKeyedLimit(maxPolls.inAll);

  return {
    read({ kind, orgId, baseUrl }, work) {
      const most = kind === "sse" ? maxStreams : maxClaimedPolls;
      const host = `${orgId} ${URL.parse(baseUrl)?.hostname}`;
      const places = [
        { key: `${kind} ${host}`, most: most.perHost, whose: "of your organisation with this host" },
        { key: `${kind} ${orgId}`, most: most.perOrganisation, whose: "of your organisation" },
        { key: kind, most: most.inAll, whose: "of this replica" },
      ];
      const full = places.find((place) => taken.of(place.key) >= place.most);
      if (full !== undefined) {
        const what = kind === "sse" ? "event streams" : "polls";
        return `a place: ${full.most} ${what} ${full.whose} are under way, which is the most`;
      }
      for (const { key } of places) taken.add(key, 1);
      const polled = {
        share: { key: orgId, most: maxPolls.perOrganisation },
        target: { key: host, most: maxPolls.perHost },
      };
      return (kind === "sse" ? work() : pollTurn(polled, work)).finally(() => {
        for (const { key } of places) taken.add(key, -1);
      });
    },
  };
}
