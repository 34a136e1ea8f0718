import fc from "fast-check";
import { expect, test } from "vitest";
import { SourceFailure } from "#src/channels/sources/failure.ts";
import { pollOnce } from "#src/channels/sources/poll.ts";
import type { Position } from "#src/channels/sources/position.ts";
import type { Missed, Reading } from "#src/channels/sources/reading.ts";
import type { PollConfig } from "#src/channels/sources/source.ts";
import type { OutboundReply } from "#src/outbound/outbound.ts";

const base: PollConfig = {
  ...{ path: "/items", query: [], intervalSeconds: 60, items: "/items", id: "/id", defaultType: "item" },
  ...{ order: "descending", isTimeCursor: false, start: "all" },
};
const after = { cursor: "/id", query: [{ name: "after", value: "{cursor}" }] };
const token = { next: { by: "pointer", pointer: "/next", parameter: "page" } } as const;

/** Every way in which a list can be read. */
const configs: Record<string, PollConfig> = {
  "the newest first, page by page by Link": { ...base, next: { by: "link" } },
  "the newest first, page by page by a token": { ...base, ...token },
  "the oldest first, page by page": { ...base, ...token, order: "ascending" },
  "the oldest first, behind a cursor": { ...base, ...after, order: "ascending" },
  "the oldest first, behind a cursor and page by page": { ...base, ...after, ...token, order: "ascending" },
  "the newest first, behind a cursor and page by page": { ...base, ...after, ...token },
};

/** A turn: what is added before it, during it, and at which of its requests or writes it fails. */
const turns = fc.array(
  fc.record({
    before: fc.nat(90),
    during: fc.constantFrom(0, 0, 1, 3),
    failsAt: fc.constantFrom(undefined, undefined, 1, 2, 3, 7),
    cannotStore: fc.constantFrom(false, false, true),
  }),
  { minLength: 1, maxLength: 6 },
);

/** The list's server: three items a page, which can be asked for at any time. */
function serverOf(config: PollConfig) {
  let size = 0;
  return {
    add: (count: number) => (size += count),
    size: () => size,
    answer(query: ReadonlyMap<string, string>): OutboundReply {
      const first = Number(query.get("after") ?? "0");
      const behind = Array.from({ length: size - first }, (_, i) => first + i + 1);
      if (config.order === "descending") behind.reverse();
      const page = Number(query.get("page") ?? "0");
      const items = behind.slice(page * 3, page * 3 + 3).map((id) => ({ id }));
      const hasMore = behind.length > (page + 1) * 3;
      const link = hasMore ? { link: `</items?page=${page + 1}>; rel="next"` } : {};
      const body = Buffer.from(JSON.stringify({ items, ...(hasMore && { next: page + 1 }) }));
      return { status: 200, headers: link, body, latencyMs: 1 };
    },
  };
}

test.each(Object.entries(configs))(
  "a list that is read %s loses nothing and stores nothing twice, whatever fails and whatever is added meanwhile",
  async (_, config) => {
    await fc.assert(
      fc.asyncProperty(turns, async (planned) => {
        const server = serverOf(config);
        const stored = new Map<string, string>();
        const gaps: Missed[] = [];
        let position: Position = {};

        async function turn(plan: { during: number; failsAt: number | undefined; cannotStore: boolean }) {
          let asked = 0;
          const reading: Reading = {
            ...{ signal: new AbortController().signal, origin: "http://list.example/items" },
            holding: { grow: () => {}, become: () => {} },
            take(events, next) {
              if (plan.cannotStore) return Promise.reject(new SourceFailure("nothing can be stored"));
              for (const { key, event } of events) stored.set(key.toString("hex"), event.id);
              position = next;
              return Promise.resolve();
            },
            advance(next, gap) {
              if (gap !== undefined) gaps.push(gap);
              position = next;
              return Promise.resolve();
            },
          };
          const source = {
            ...{ orgId: "org", channelId: "chn", lease: "lease", version: 1, connectionId: "scn" },
            ...({ baseUrl: "http://list.example", failures: 0, position, kind: "poll", config } as const),
          };
          await pollOnce(
            source,
            ({ query }) => {
              if (++asked === plan.failsAt)
                return Promise.reject(new SourceFailure("the server answered 500"));
              const reply = server.answer(new Map(query.map(([name, value]) => [name, value])));
              if (asked <= 3) server.add(plan.during);
              return Promise.resolve(reply);
            },
            reading,
            () => new Date(0),
          ).catch((error: unknown) => {
            if (!(error instanceof SourceFailure)) throw error;
          });
        }

        for (const plan of planned) {
          server.add(plan.before);
          await turn(plan);
        }
        const quiet = { during: 0, failsAt: undefined, cannotStore: false };
        // Each reads 60 items at least.
        for (let left = server.size() + 120; left > 0; left -= 60) await turn(quiet);
        const all = Array.from({ length: server.size() }, (_item, i) => String(i + 1));
        expect([...stored.values()].toSorted((a, b) => Number(a) - Number(b))).toStrictEqual(all);
        expect(gaps).toStrictEqual([]);
      }),
      { numRuns: 15 },
    );
  },
);
