import { createParser } from "eventsource-parser";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventStream, type StreamedEvent } from "#src/channels/sources/event-stream.ts";

function read(text: string | Buffer, { pieceBytes = 7, maxBytes = 1_000 } = {}) {
  const stream = new EventStream({ maxBytes });
  const bytes = Buffer.from(text);
  const events: StreamedEvent[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    events.push(...stream.feed(bytes.subarray(at, at + pieceBytes)));
  }
  return { stream, events, data: events.map(({ data }) => data?.toString()) };
}

const line = fc.constantFrom(
  ...[
    "data: a",
    "data:b",
    "data",
    "data: é€😀",
    "event: x",
    "id: 7",
    "id",
    ": c",
    "retry: 10",
    "foo: 1",
    "",
    "",
  ],
);

describe("an event stream", () => {
  test("has the same events as another reader finds, however it is cut into pieces", () => {
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 20 }),
        fc.constantFrom("\n", "\r\n"),
        fc.integer({ min: 1, max: 9 }),
        (lines, end, pieceBytes) => {
          const text = [...lines, "", ""].join(end);
          const expected: string[] = [];
          const theirs = createParser({
            onEvent: ({ event, data }) => expected.push(`${event ?? "message"}|${data}`),
          });
          theirs.feed(text);
          const { events } = read(text, { pieceBytes });
          expect(events.map(({ type, data }) => `${type}|${data?.toString()}`)).toStrictEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("ends its lines with CR too, and an event is there at once", () => {
    expect(read("data: x\r\rdata: y\r\r").data).toStrictEqual(["x", "y"]);
    expect(new EventStream({ maxBytes: 9 }).feed(Buffer.from("data: x\r\r"))).toHaveLength(1);
  });

  test("may begin with a byte order mark", () => {
    expect(read("\uFEFFdata: x\n\n", { pieceBytes: 1 }).data).toStrictEqual(["x"]);
  });

  test("says where it stands also by an id that comes without an event", () => {
    const { stream, events } = read("id: 7\n\ndata: x\n\nid: 8\ndata: y\n\nid: 9\n");
    expect(events.map(({ id, lastId }) => [id, lastId])).toStrictEqual([
      [undefined, "7"],
      ["8", "8"],
    ]);
    // The block of 9 has not ended.
    expect(stream.lastId).toBe("8");
  });

  test("takes no id with NUL, and no retry that is not a number", () => {
    const { stream } = read("id: 7\nid: a\0b\nretry: 10\nretry: x\n\n");
    expect([stream.lastId, stream.retryMs]).toStrictEqual(["7", 10]);
  });

  test("keeps no name that is too long to be of use, in which position it then is nowhere", () => {
    const long = "n".repeat(5_000);
    const { stream, events } = read(`id: 7\ndata: a\n\nid: ${long}\nevent: ${long}\ndata: b\n\n`, {
      maxBytes: 10_000,
    });
    expect(events.map(({ id, type }) => [id, type])).toStrictEqual([
      ["7", "message"],
      ["", "message"],
    ]);
    expect(stream.lastId).toBe("");
  });

  test("keeps bytes that are no UTF-8", () => {
    const { events } = read(Buffer.from([...Buffer.from("data: "), 0xff, 0xfe, ...Buffer.from("\n\n")]));
    expect(events[0]?.data).toStrictEqual(Buffer.from([0xff, 0xfe]));
  });

  test.each([
    ["in one line", `id: 1\ndata: ${"x".repeat(2_000)}\n\n`],
    ["in many lines", `id: 1\n${"data: xxxxxxxxx\n".repeat(200)}\n`],
    ["in many empty lines", `id: 1\n${"data\n".repeat(2_000)}\n`],
    ["in a field of another name", `id: 1\n${"x".repeat(2_000)}\n\n`],
  ])("leaves out an event that is too long, %s, and goes on behind it", (_, text) => {
    for (const pieceBytes of [1, 64, 10_000]) {
      const { events } = read(`${text}data: next\n\n`, { pieceBytes });
      expect(events.map(({ id, data }) => [id, data?.toString()])).toStrictEqual([
        ["1", undefined],
        [undefined, "next"],
      ]);
    }
  });

  test("takes an event that has exactly as much as is taken, and a comment of any length", () => {
    const { data } = read(`: ${"c".repeat(5_000)}\ndata: ${"x".repeat(1_000)}\n\n`);
    expect(data).toStrictEqual(["x".repeat(1_000)]);
  });
});
