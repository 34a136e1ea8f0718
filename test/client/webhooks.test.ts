import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import express from "express";
import { afterAll, describe, expect, test } from "vitest";
import {
  type Event,
  EventsLost,
  memoryPositions,
  receiveWebhooks,
  type ReceiveWebhooksOptions,
} from "#src/client/node.ts";
import type { Receiver } from "#src/webhooks/delivery.ts";
import { signingSecretText } from "#src/webhooks/signing.ts";
import { loggedEvent, secretOf } from "../support/deliveries.ts";
import { PlayedLog } from "./webhook-log.ts";

const paid = Array.from({ length: 8 }, () => "payment.made");
const closing: (() => Promise<unknown>)[] = [];
afterAll(() => Promise.all(closing.map((close) => close())));

/** A server with a receiver, and what it handed over. */
async function startReceiver(log: PlayedLog, options: Partial<ReceiveWebhooksOptions<undefined>> = {}) {
  const [handed, errors]: [Event[], unknown[]] = [[], []];
  const receiver = receiveWebhooks({
    secrets: [signingSecretText(secretOf(7))],
    events: log,
    types: ["channel:chn_1/payment.made"],
    positions: memoryPositions(),
    onEvent: (event) => void handed.push(event),
    onError: (error) => void errors.push(error),
    // No test waits for it.
    startWaitMs: 600_000,
    ...options,
  });
  const url = await serve((request, response) => void receiver.node(request, response));
  return { receiver, url, errors, handed, seqs: () => handed.map(({ seq }) => Number(seq)) };
}

async function serve(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`;
}

describe("an event is handed over once and in order", () => {
  test("when its delivery comes again, and between others that the endpoint does not select", async () => {
    await using log = new PlayedLog(["payment.made", "other", "payment.made", "other", "payment.made"]);
    const { url, seqs } = await startReceiver(log);
    for (const delivery of [...log.selected, ...log.selected])
      expect(await log.send(url, delivery)).toBe(204);
    expect(seqs()).toEqual([1, 3, 5]);
    // Nothing was missed.
    expect(log.asked).toEqual([]);
  });

  test("when the first to come was sent behind others", async () => {
    await using log = new PlayedLog(paid);
    const { url, seqs } = await startReceiver(log);
    const [first, ...others] = log.selected;
    const sending = others.reverse().map((delivery) => log.send(url, delivery));
    expect(await log.send(url, first)).toBe(204);
    expect(await Promise.all(sending)).toEqual(others.map(() => 204));
    expect(seqs()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("when deliveries before it were lost, which are fetched", async () => {
    const others = Array.from({ length: 12 }, () => "other");
    await using log = new PlayedLog([...paid, ...others, ...paid]);
    const { url, seqs } = await startReceiver(log);
    await log.send(url, log.selected[0]);
    expect(await log.send(url, log.selected.at(-1))).toBe(204);
    expect(seqs()).toEqual(log.selected.map(({ event }) => event.seq));
    expect(log.asked).toEqual([1, 11, 21]);
  });

  test("when a delivery before it was lost whose data is too large for a list", async () => {
    await using log = new PlayedLog(paid);
    const data = Buffer.alloc(2_000, "x");
    log.events[1] = loggedEvent({ log: "chn_1", seq: 2, type: "payment.made", data });
    const { url, handed, seqs } = await startReceiver(log);
    await log.send(url, log.selected[0]);
    expect(await log.send(url, log.selected[2])).toBe(204);
    expect(seqs()).toEqual([1, 2, 3]);
    expect(Buffer.from(handed[1]?.data ?? []).equals(data)).toBe(true);
  });

  test("by one process after another, which knows no position and begins with what comes", async () => {
    await using log = new PlayedLog(paid);
    const { url, seqs } = await startReceiver(log, { startWaitMs: 0 });
    expect(await log.send(url, log.selected[3])).toBe(204);
    expect(await log.send(url, log.selected[5])).toBe(204);
    expect(seqs()).toEqual([4, 5, 6]);
  });

  test("and again only when it is asked for again under an id of its own", async () => {
    await using log = new PlayedLog(paid);
    const { url, seqs } = await startReceiver(log);
    for (const delivery of log.selected.slice(0, 3)) await log.send(url, delivery);
    const again = { ...log.selected[1]!, redelivery: true };
    expect(await log.send(url, again)).toBe(204);
    expect(seqs()).toEqual([1, 2, 3]);
    expect(await log.send(url, { ...again, webhookId: "chn_1.2.again" })).toBe(204);
    expect(seqs()).toEqual([1, 2, 3, 2]);
    expect(await log.send(url, log.selected[3])).toBe(204);
    expect(seqs()).toEqual([1, 2, 3, 2, 4]);
  });
});

test("an event whose handler fails comes again, and none behind it before", async () => {
  await using log = new PlayedLog(paid);
  const seen: number[] = [];
  let fails = true;
  const { url, errors } = await startReceiver(log, {
    onEvent: ({ seq }) => {
      if (seq === 2n && fails) throw new Error("the shop is closed");
      seen.push(Number(seq));
    },
  });
  const [first, second, third] = log.selected;
  expect(await log.send(url, first)).toBe(204);
  expect(await log.send(url, second)).toBe(503);
  expect(await log.send(url, third)).toBe(503);
  expect(errors).toEqual([new Error("the shop is closed"), new Error("the shop is closed")]);
  fails = false;
  expect(await log.send(url, third)).toBe(204);
  expect(await log.send(url, second)).toBe(204);
  expect(seen).toEqual([1, 2, 3]);
});

describe("what was missed and is no longer kept", () => {
  test("is not passed over in silence", async () => {
    await using log = new PlayedLog(paid);
    const { url, errors, seqs } = await startReceiver(log);
    await log.send(url, log.selected[0]);
    log.earliest = 5;
    expect(await log.send(url, log.selected[7])).toBe(503);
    expect(errors).toMatchObject([new EventsLost({ log: "chn_1", after: 1, earliest: 5 })]);
    expect(seqs()).toEqual([1]);
  });

  test("is told to onLost, and the others are handed over", async () => {
    await using log = new PlayedLog(paid);
    const lost: unknown[] = [];
    const { url, seqs } = await startReceiver(log, { onLost: (one) => void lost.push(one) });
    await log.send(url, log.selected[0]);
    log.earliest = 5;
    expect(await log.send(url, log.selected[7])).toBe(204);
    expect(lost).toEqual([{ log: "chn_1", after: 1, earliest: 5 }]);
    expect(seqs()).toEqual([1, 5, 6, 7, 8]);
  });
});

test("types that are not the endpoint's are an error, and not a loss", async () => {
  await using log = new PlayedLog(paid);
  const { url, errors, seqs } = await startReceiver(log, {
    events: { listEvents: async () => ({ events: [], position: 8n }), getEvent: async () => ({}) },
  });
  await log.send(url, log.selected[0]);
  expect(await log.send(url, log.selected[2])).toBe(503);
  expect(String(errors[0])).toContain("give the types of the endpoint");
  expect(seqs()).toEqual([1]);
});

describe("an event is the same, whether it was delivered or fetched", () => {
  test.each([
    ["JSON", "application/json", '{ "a" : 1.0, "b": ",\\"data\\":" }'],
    ["JSON of a type of its own", "application/vnd.shop+json; charset=utf-8", "[1e400]"],
    ["text", "text/plain", 'he said ",\\"data\\":" 😀'],
    ["bytes", "application/octet-stream", Buffer.from([0xff, 0x00, 0x7d])],
    ["what is called JSON and is none", "application/json", "{"],
    ["nothing", undefined, undefined],
  ])("%s", async (_, contentType, data) => {
    await using log = new PlayedLog(paid.slice(0, 2));
    log.events[1] = loggedEvent({
      ...{ seq: 2, id: 'of "2", é', subject: ',"data":', time: "2026-11-29T09:59:59+01:00", contentType },
      ...{ extensions: { traceparent: "00-1" }, data: data === undefined ? undefined : Buffer.from(data) },
      type: "payment.made",
    });
    for (const body of ["webhook", "binary"] as const) {
      const format = body === "binary" ? body : "json";
      const { url, handed, errors } = await startReceiver(log, { format });
      for (const delivery of log.selected) await log.send(url, delivery, { body });
      expect(Buffer.from(handed[1]?.data ?? []).equals(log.events[1].data ?? Buffer.alloc(0))).toBe(true);
      expect(handed[1]).toMatchObject({
        ...{
          id: 'of "2", é',
          log: "chn_1",
          seq: 2n,
          subject: ',"data":',
          source: "/bank",
          type: "payment.made",
        },
        ...{ time: "2026-11-29T09:59:59+01:00", extensions: { traceparent: "00-1" }, verified: "stripe" },
        dataBytes: log.events[1].data?.length ?? 0,
      });
      expect(handed[1]?.dataContentType).toBe(contentType);
      expect(errors).toEqual([]);
    }
  });
});

describe("is refused, and nobody hears of it", () => {
  const signed = async (log: PlayedLog, url: string, which = 0, to: Partial<Receiver> = {}) => {
    let kept: { headers: Record<string, string>; body: Buffer } | undefined;
    const catcher = await serve((request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => {
        kept = { headers: request.headers as Record<string, string>, body: Buffer.concat(pieces) };
        response.end();
      });
    });
    await log.send(catcher, log.selected[which], to);
    const { headers, body } = kept!;
    const names = Object.keys(headers).filter((name) => /^(?:webhook-|x-qe-|ce-|content-type)/.test(name));
    const own = Object.fromEntries(names.map((name) => [name, headers[name] ?? ""]));
    return (change: Record<string, string>, other = body) =>
      fetch(url, { method: "POST", headers: { ...own, ...change }, body: new Uint8Array(other) });
  };

  test("what is not by one of the secrets, as it was, of now", async () => {
    await using log = new PlayedLog(paid);
    const { url, errors, seqs } = await startReceiver(log);
    const send = await signed(log, url);
    const answers = [
      await send({ "webhook-id": "chn_1.2" }),
      await send({ "webhook-timestamp": "1" }),
      await send({ "webhook-timestamp": "x" }),
      await send({ "webhook-signature": "v1,AAAA" }),
      await send({ "webhook-signature": "" }),
      await send({}, Buffer.from("{}")),
      await fetch(url, { method: "POST" }),
    ];
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 401));
    expect(new Set(await Promise.all(answers.map((answer) => answer.text()))).size).toBe(1);
    expect((await fetch(url)).status).toBe(405);
    expect(errors).toEqual([]);
    expect((await send({})).status).toBe(204);
    expect(seqs()).toEqual([1]);
  });

  test("a number that was not signed", async () => {
    await using log = new PlayedLog(paid);
    const { url, seqs } = await startReceiver(log, { format: "binary" });
    const send = await signed(log, url, 0, { body: "binary" });
    const changes = [{ "ce-qeseq": "9" }, { "ce-qelog": "chn_2" }, { "ce-qeseq": "" }];
    // Numbers of two logs have nothing to do with each other.
    for (const change of [...changes, { "x-qe-previous": "chn_2:-" }])
      expect((await send(change)).status).toBe(400);
    expect(seqs()).toEqual([]);
  });

  test("whatever headers say of a document, which was signed", async () => {
    await using log = new PlayedLog(paid);
    const { url, handed, seqs } = await startReceiver(log);
    await log.send(url, log.selected[0]);
    const send = await signed(log, url, 1);
    const forged = {
      "ce-id": "x",
      "ce-qelog": "chn_1",
      "ce-qeseq": "8",
      "ce-type": "forged",
      "ce-source": "x",
    };
    expect((await send({ ...forged, "x-qe-sequence": "chn_1:8", "x-qe-previous": "chn_1:1" })).status).toBe(
      204,
    );
    expect(seqs()).toEqual([1, 2]);
    expect(handed[1]).toMatchObject({ id: "e2", type: "payment.made", extensions: {} });
  });

  test("a number before it that was not signed, which would hide what was held back", async () => {
    await using log = new PlayedLog(paid);
    const { url, seqs } = await startReceiver(log);
    await log.send(url, log.selected[0]);
    const send = await signed(log, url, 3);
    expect((await send({ "x-qe-previous": "chn_1:1" })).status).toBe(204);
    expect(seqs()).toEqual([1, 2, 3, 4]);
  });

  test("a body that is longer than is read", async () => {
    await using log = new PlayedLog(paid);
    const { url, receiver } = await startReceiver(log, { maxBytes: 10 });
    expect(await log.send(url, log.selected[0])).toBe(413);
    const request = new Request(url, { method: "POST", body: "x".repeat(11) });
    expect((await receiver.fetch(request)).status).toBe(413);
  });
});

describe("while a secret is replaced", () => {
  const text = (byte: number) => signingSecretText(secretOf(byte));
  const both = { current: secretOf(8), previous: secretOf(7) };

  test.each([
    ["the previous secret", [text(7)], 204],
    ["the new one", [text(8)], 204],
    ["both", [text(8), text(7)], 204],
    ["another", [text(9)], 401],
  ])("a receiver that knows %s", async (_, secrets, status) => {
    await using log = new PlayedLog(paid);
    const { url } = await startReceiver(log, { secrets: async () => secrets });
    expect(await log.send(url, log.selected[0], { secrets: both })).toBe(status);
  });

  test("a secret that is none is told to whoever runs the receiver", async () => {
    await using log = new PlayedLog(paid);
    const { url, errors } = await startReceiver(log, { secrets: ["whsec"] });
    expect(await log.send(url, log.selected[0])).toBe(503);
    expect(String(errors[0])).toContain("whsec_ and base64");
  });
});

test("a ping is taken and handed to nobody", async () => {
  await using log = new PlayedLog(paid);
  const { url, seqs, errors } = await startReceiver(log);
  const event = loggedEvent({ log: "service", seq: 0, type: "webhook.ping" });
  const ping = { ...log.selected[0]!, event, type: event.type, webhookId: "ping_1" };
  expect(await log.send(url, ping)).toBe(204);
  expect([seqs(), errors]).toEqual([[], []]);
});

describe("on other servers", () => {
  test("fetch", async () => {
    await using log = new PlayedLog(paid);
    const { receiver, seqs } = await startReceiver(log);
    const url = await serve((request, response) => {
      const headers = new Headers(request.headers as Record<string, string>);
      const body = Readable.toWeb(request);
      const asked = new Request("http://edge.example/", { method: "POST", headers, body, duplex: "half" });
      void receiver.fetch(asked).then(({ status }) => response.writeHead(status).end());
    });
    expect(await log.send(url, log.selected[0])).toBe(204);
    expect(seqs()).toEqual([1]);
  });

  test("Express, also behind a parser that keeps bytes", async () => {
    await using log = new PlayedLog(paid);
    const { receiver, seqs } = await startReceiver(log);
    const bare = express().post("/hooks", receiver.node);
    expect(await log.send(await serve(bare), log.selected[0])).toBe(204);
    const raw = express().use(express.raw({ type: () => true }));
    expect(await log.send(await serve(raw.post("/hooks", receiver.node)), log.selected[1])).toBe(204);
    expect(seqs()).toEqual([1, 2]);
  });

  test("Express behind a parser that keeps no bytes, whose owner learns what to do", async () => {
    await using log = new PlayedLog(paid);
    const { receiver, errors } = await startReceiver(log);
    const parsed = express().use(express.json()).post("/hooks", receiver.node);
    expect(await log.send(await serve(parsed), log.selected[0])).toBe(503);
    expect(String(errors[0])).toContain("before express.json()");
  });
});
