import { randomBytes } from "node:crypto";

/** What a service answers. */
interface UpstreamAnswer {
  readonly type: string;
  readonly body: Buffer;
}

/** By path. */
export const upstreamAnswers: Readonly<Record<string, UpstreamAnswer>> = {
  "/small": jsonOf(1),
  "/large": jsonOf(500),
  "/bytes": { type: "application/octet-stream", body: randomBytes(5 * 1024 * 1024) },
};

/** About 200 bytes for each record, of everything that JSON has. */
function jsonOf(records: number): UpstreamAnswer {
  const cases = Array.from({ length: records }, (_, index) => ({
    id: `case_${String(index).padStart(8, "0")}`,
    name: "Zoë Müller-O’Neill",
    score: 0.625 + index,
    isOpen: index % 2 === 0,
    address: { city: "Zürich", street: null, number: 17 },
    tags: ["checked", "by hand", "twice"],
    note: "as it was",
  }));
  return { type: "application/json", body: Buffer.from(JSON.stringify({ cases })) };
}
