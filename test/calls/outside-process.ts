// The caller and the called service of event-loop.test.ts. They have a process of their own, so that the event loop of
// the test's process does nothing but what our service does.
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { askInFrames, askOverGrpc, askOverJson } from "./ask-unary.ts";

const asks = {
  REST: askOverJson,
  "Connect JSON": askOverJson,
  gRPC: askOverGrpc,
  "gRPC over HTTP/1.1": askInFrames("application/grpc"),
  "gRPC in JSON": askInFrames("application/grpc+json"),
  "gRPC-Web in JSON": askInFrames("application/grpc-web+json"),
};

/** A call that the caller shall make. */
export interface Order {
  readonly protocol: keyof typeof asks;
  readonly url: string;
  readonly secret: string;
  readonly answer: string;
  readonly body: string;
  /** The coding that the caller takes its answer in. */
  readonly coding?: "gzip" | "br" | undefined;
  /** What the request is compressed with. */
  readonly sentIn?: "gzip" | undefined;
}

/** What came of it: the caller's status, and whether all bytes arrived on both sides. */
export interface Outcome {
  readonly status: number;
  readonly isWhole: boolean;
}

const MiB = 1024 * 1024;
const bytes = Buffer.from(Array.from({ length: MiB }, (_, index) => Math.imul(index, 2_654_435_761) >>> 9));
const fill = (size: number, unit: string) => unit.repeat(Math.floor(size / Buffer.byteLength(unit)));
const members = Array.from({ length: 60_000 }, (_, index) => `"k${index}":${index / 10}`);

const names = Object.fromEntries(Array.from({ length: 250_000 }, (_, index) => [`k${index}`, "a"]));

/** What the called service answers, and under which name the caller finds it. */
const answers: Readonly<Record<string, { type: string; form: string; body: Buffer }>> = {
  "10 MiB of bytes": { type: "image/png", form: "raw", body: Buffer.concat(Array<Buffer>(10).fill(bytes)) },
  "10 MiB of text": {
    type: "text/plain",
    form: "text",
    body: Buffer.from(fill(10 * MiB, 'Fünf % \\"sind" 日本 \\u0041 genug.\n')),
  },
  "10 MiB of JSON": {
    type: "application/json",
    form: "text",
    body: Buffer.from(`["${fill(10 * MiB - 4, "a %\\n")}"]`),
  },
  "1 MiB of JSON": { type: "application/json", form: "json", body: Buffer.from(`{${members.join()}}`) },
  nothing: { type: "text/plain", form: "", body: Buffer.alloc(0) },
};

type Body = { readonly fields: JsonObject; readonly sent: Buffer };

/** What the caller sends, as JSON and as the bytes that the called service shall get. */
const bodies: Readonly<Record<string, Body>> = {
  "4 MiB of bytes": bytesBody(Buffer.concat([bytes, bytes, bytes]).subarray(0, 3 * MiB - 200)),
  "4 MiB of text": textBody(fill(4 * MiB - 200, "a % é日. ")),
  "4 MiB of one JSON string": jsonBody(fill(4 * MiB - 200, "a % é日. ")),
  "4 MiB of JSON numbers": jsonBody(Array<number>(2 * MiB - 200).fill(7)),
  "4 MiB of JSON members": jsonBody(names),
  "4 MiB of JSON objects": jsonBody(Array<JsonObject>(MiB - 200).fill({})),
  "4 MiB of header names": refusedBody({ headers: names }),
  "4 MiB of lists in the query": refusedBody({ query: { a: Array<JsonValue>(MiB - 200).fill([]) } }),
  "4 MiB of unknown fields": refusedBody(names),
  "4 MiB of control characters": refusedBody({
    json: Array<JsonValue>(2_000).fill(fill(2_000, "\u0001")),
  }),
  "4 MiB of one name": refusedBody({ json: { [fill(4 * MiB - 200, "\u0001")]: 1 } }),
  nothing: { fields: {}, sent: Buffer.alloc(0) },
};
/** Where a message of these bytes has other fields in binary than in JSON. */
const binaryBodies: Readonly<Record<string, Body>> = {
  "4 MiB of JSON numbers": jsonBody(Array<number>(380_000).fill(7)),
};

function refusedBody(fields: JsonObject): Body {
  return { fields, sent: Buffer.from("nothing") };
}

function bytesBody(sent: Buffer): Body {
  return { fields: { raw: sent.toString("base64") }, sent };
}

function textBody(text: string): Body {
  return { fields: { text }, sent: Buffer.from(text) };
}

function jsonBody(json: JsonValue): Body {
  return { fields: { json }, sent: Buffer.from(JSON.stringify(json)) };
}

let received = Buffer.alloc(0);
const upstream = createServer((asked, response) => {
  const chunks: Buffer[] = [];
  asked.on("data", (chunk: Buffer) => chunks.push(chunk));
  asked.on("end", () => {
    received = Buffer.concat(chunks);
    const { type, body } = answers[decodeURIComponent(asked.url!.slice(1))]!;
    response.writeHead(200, { "content-type": type, "content-length": body.length }).end(body);
  });
});

const messages = new Map<string, JsonObject>();

/** The request; the same object if it is made again, so that it need not be encoded again. */
function messageOf(answer: string, { fields }: Body, name: string): JsonObject {
  const key = `${name} ${answer}`;
  const message = messages.get(key) ?? {
    service: "custom:outside",
    method: "POST",
    path: `/${encodeURIComponent(answer)}`,
    ...fields,
  };
  messages.set(key, message);
  return message;
}

async function call({ protocol, url, secret, answer, body, coding, sentIn }: Order): Promise<Outcome> {
  const isBinary = protocol === "gRPC" || protocol === "gRPC over HTTP/1.1";
  const given = (isBinary ? binaryBodies[body] : undefined) ?? bodies[body]!;
  const message = messageOf(answer, given, `${protocol} ${body}`);
  const { status, answer: answered } = await asks[protocol]({ url, secret, message, coding, sentIn });
  const isWhole = answered !== undefined && given.sent.equals(received) && isAnswer(answer, answered);
  return { status, isWhole };
}

function isAnswer(name: string, json: JsonValue): boolean {
  const shown = json as JsonObject;
  const { form, body } = answers[name]!;
  if (form === "") return !("raw" in shown || "text" in shown || "json" in shown);
  if (form === "json") return JSON.stringify(shown[form]) === body.toString();
  return shown[form] === body.toString(form === "raw" ? "base64" : "utf8");
}

process.on("message", (order: Order) => {
  void call(order).then((outcome) => process.send!(outcome));
});
process.on("disconnect", () => process.exit());
upstream.listen(0, "127.0.0.1", () => {
  process.send!({ upstreamUrl: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` });
});
