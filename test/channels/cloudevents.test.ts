import { CloudEvent, HTTP } from "cloudevents";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readCloudEvents } from "#src/channels/cloudevents.ts";

const structured = [["content-type", "application/cloudevents+json"]] as const;
const batched = [["content-type", "application/cloudevents-batch+json"]] as const;
const minimal = { specversion: "1.0", id: "1", source: "/s", type: "t" };

async function readOne(headers: readonly (readonly [string, string])[], body: string | Buffer) {
  const { events } = await readCloudEvents(headers, Buffer.from(body));
  expect(events).toHaveLength(1);
  return events[0]!;
}

function read(event: object) {
  return readOne(structured, JSON.stringify(event));
}

describe("the data of an event in JSON", () => {
  test.each([
    ["zero", '"data":0', "0"],
    ["false", '"data":false', "false"],
    ["an empty text", '"data":""', '""'],
    ["null", '"data":null', "null"],
    ["digits that doubles lose", '"data": {"n": 12345678901234567890.10}', '{"n": 12345678901234567890.10}'],
    ["a text under a type that is not JSON", '"datacontenttype":"text/plain","data":"a\\n\\u00e9"', "a\né"],
    ["a text under a type of JSON", '"datacontenttype":"application/x+json","data":"a"', '"a"'],
    ["XML", '"datacontenttype":"application/xml","data":"<a/>"', "<a/>"],
    ["base64", '"data_base64":"AP8="', Buffer.from([0, 255])],
    [
      "long base64",
      `"data_base64":"${"AP+/".repeat(200_000)}"`,
      Buffer.from("AP+/".repeat(200_000), "base64"),
    ],
  ])("is the bytes that came: %s", async (_, members, data) => {
    const body = `${JSON.stringify(minimal).slice(0, -1)} , ${members} }`;
    expect((await readOne(structured, body)).data).toEqual(Buffer.from(data));
  });

  test("is JSON where the event does not say what it is, and readers are told", async () => {
    expect((await read({ ...minimal, data: { n: 1 } })).contentType).toBe("application/json");
    expect((await read({ ...minimal, data_base64: "AP8=" })).contentType).toBeUndefined();
  });

  test("may be missing", async () => {
    expect((await read(minimal)).data).toBeUndefined();
  });

  test("is found byte for byte whatever it is", async () => {
    await fc.assert(
      fc.asyncProperty(fc.json(), async (data) => {
        fc.pre(data.isWellFormed());
        const event = await readOne(
          structured,
          `{"specversion":"1.0","id":"1","data":${data},"source":"s","type":"t"}`,
        );
        expect(event.data?.toString()).toBe(data.trim());
      }),
    );
  });
});

describe("an event in JSON", () => {
  test("keeps its attributes and extensions", async () => {
    const event = await read({
      ...minimal,
      subject: "s/1",
      time: "2026-01-31T08:00:00.123456+02:00",
      datacontenttype: "application/json",
      partitionkey: "k",
      count: 3,
      flag: true,
      none: null,
      qeseq: 7,
    });
    expect(event).toMatchObject({ subject: "s/1", time: "2026-01-31T08:00:00.123456+02:00" });
    expect(event.extensions).toEqual({ partitionkey: "k", count: "3", flag: "true" });
  });

  test.each([
    ["no type", { ...minimal, type: undefined }, "missing type"],
    ["another version", { ...minimal, specversion: "2.0" }, "specversion: 1.0"],
    ["a number as its id", { ...minimal, id: 7 }, "id: give a text"],
    ["an id of ten thousand characters", { ...minimal, id: "x".repeat(10_000) }, "id: has 10000 characters"],
    ["an empty source", { ...minimal, source: "" }, "source: must not be empty"],
    ["a NUL in its id", { ...minimal, id: "a\0b" }, "id: must not be empty, nor have control characters"],
    ["half a surrogate pair", { ...minimal, subject: "\ud800" }, "subject: must not"],
    ["a time that does not exist", { ...minimal, time: "2026-02-30T08:00:00Z" }, "time: give a time"],
    ["a name in upper case", { ...minimal, traceId: "1" }, "traceId: names of attributes"],
    ["an object as an extension", { ...minimal, trace: {} }, "trace: give a text, number or boolean"],
    ["data twice", { ...minimal, data: 1, data_base64: "AA==" }, "data and data_base64: give one"],
    ["base64 that is none", { ...minimal, data_base64: "A" }, "data_base64: is not base64"],
    [
      "base64 that ends and goes on",
      { ...minimal, data_base64: `${"AAAA".repeat(65_535)}AA==AAAA` },
      "data_base64: is not base64",
    ],
  ])("is refused with %s", async (_, event, message) => {
    await expect(read(event)).rejects.toThrow(message);
  });

  test.each([
    ["no JSON", structured, "{", "the body is not JSON"],
    ["a list", structured, "[]", "an event in JSON is an object"],
    ["bytes that are no UTF-8", structured, Buffer.from([0x7b, 0xff, 0x7d]), "not UTF-8"],
    ["a member twice", structured, '{"id":"1","id":"2"}', "id: given twice"],
    ["a batch that is no list", batched, "{}", "the body is not a JSON list"],
    [
      "another format",
      [["content-type", "application/cloudevents+xml"]],
      "<a/>",
      "application/cloudevents+json",
    ],
    ["another charset", [["content-type", "application/cloudevents+json;charset=latin1"]], "{}", "in UTF-8"],
    ["two content types", [...structured, ...structured], "{}", "content-type: given twice"],
    [
      "no headers of CloudEvents",
      [["content-type", "application/json"]],
      "{}",
      "no CloudEvent: give ce-specversion",
    ],
  ] as const)("is refused as %s", async (_, headers, body, message) => {
    await expect(readCloudEvents(headers, Buffer.from(body))).rejects.toThrow(message);
  });
});

test("a charset without a blank before it is read", async () => {
  const headers = [["Content-Type", "application/cloudevents+json;charset=UTF-8"]] as const;
  expect(await readOne(headers, JSON.stringify(minimal))).toMatchObject({ id: "1" });
});

describe("a batch", () => {
  test("is all of its events in their order, and may be empty", async () => {
    const { events, isBatch } = await readCloudEvents(
      batched,
      Buffer.from(JSON.stringify([minimal, { ...minimal, id: "2", data: [1] }])),
    );
    expect([isBatch, events.map(({ id }) => id), events[1]?.data?.toString()]).toEqual([
      true,
      ["1", "2"],
      "[1]",
    ]);
    expect((await readCloudEvents(batched, Buffer.from("[]"))).events).toEqual([]);
  });

  test("names the element that is wrong", async () => {
    const body = Buffer.from(JSON.stringify([minimal, { ...minimal, type: "" }]));
    await expect(readCloudEvents(batched, body)).rejects.toThrow(
      "event 1 of the batch: type: must not be empty",
    );
  });

  test("of more events than one transaction takes is refused", async () => {
    const body = Buffer.from(JSON.stringify(Array.from({ length: 501 }, () => minimal)));
    await expect(readCloudEvents(batched, body)).rejects.toThrow("501 events; 500 is the most");
  });
});

describe("an event in the binary mode", () => {
  const headers = [
    ["ce-specversion", "1.0"],
    ["Ce-Id", "%C3%A9 100%"],
    ["ce-source", "/s"],
    ["ce-type", '"quoted"'],
    ["content-type", "image/png"],
    ["ce-trace", "abc"],
  ] as const;

  test("has its attributes decoded and its body as data", async () => {
    const event = await readOne(headers, Buffer.from([0, 255]));
    expect(event).toMatchObject({ id: "é 100%", type: "quoted", contentType: "image/png" });
    expect([event.extensions, event.data]).toEqual([{ trace: "abc" }, Buffer.from([0, 255])]);
    expect((await readOne(headers, "")).data).toBeUndefined();
  });

  test.each([
    ["a header twice", [...headers, ["ce-id", "2"]], "ce-id: given twice"],
    ["percent-encoding that is no UTF-8", [...headers, ["ce-x", "%FF"]], "ce-x: percent-encoded"],
    [
      "the type of the data as an attribute",
      [...headers, ["ce-datacontenttype", "a/b"]],
      "content-type and the body",
    ],
  ] as const)("is refused with %s", async (_, lines, message) => {
    await expect(readCloudEvents(lines, Buffer.from("x"))).rejects.toThrow(message);
  });
});

test.each(["structured", "binary"] as const)(
  "what the vendors' package sends in the %s mode is read",
  async (mode) => {
    const sent = new CloudEvent({
      ...minimal,
      subject: "ü",
      data: { a: 1 },
      datacontenttype: "application/json",
    });
    const message = HTTP[mode](sent);
    const lines = Object.entries(message.headers).map(([name, value]) => [name, String(value)] as const);
    const event = await readOne(lines, String(message.body));
    expect(event).toMatchObject({
      id: "1",
      source: "/s",
      type: "t",
      contentType: expect.stringContaining("json"),
    });
    expect(JSON.parse(String(event.data))).toEqual({ a: 1 });
  },
);

test("events are known again by source and id together", async () => {
  const keys = await Promise.all(
    [minimal, minimal, { ...minimal, source: "/s2" }, { ...minimal, id: "2" }, { ...minimal, type: "u" }].map(
      async (event) => (await read(event)).key?.toString("hex"),
    ),
  );
  expect(new Set(keys).size).toBe(3);
  expect([keys[1], keys[4]]).toEqual([keys[0], keys[0]]);
});
