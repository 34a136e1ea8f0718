import { toJson, toJsonString, type JsonObject } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { CallServiceResponseSchema, type CallServiceResponse } from "#src/client/node.ts";
import { pairIn } from "./pair.ts";
import { ask, contentOf } from "./remote.ts";
import type { CallFlags, Shown } from "./remote-commands.ts";

/** Which service is called, and where. */
export interface Target {
  readonly connection: string;
  readonly method: string;
  readonly path: string;
}

/** Calls the service and prints its answer; false if its status says that the call failed. */
export async function call({ connection, method, path }: Target, flags: Shown & CallFlags): Promise<boolean> {
  const [plainPath = "", ...rest] = path.split("?");
  const query = queryOf([
    ...new URLSearchParams(rest.join("?")),
    ...(flags.query ?? []).map((text) => pairIn("--query", text)),
  ]);
  const headers = Object.fromEntries((flags.header ?? []).map(headerOf));
  const data = await dataOf(flags.data);
  const answer = await ask(flags, (client) =>
    client.connections.callService({
      service: connection,
      method: method.toUpperCase(),
      path: plainPath,
      query,
      headers: data === undefined ? headers : { ...typeOf(data, headers), ...headers },
      ...(data !== undefined && { body: { case: "raw", value: data } }),
    }),
  );
  if (flags.json)
    process.stdout.write(
      `${toJsonString(CallServiceResponseSchema, answer, { prettySpaces: 2, alwaysEmitImplicit: true })}\n`,
    );
  else print(answer, flags.include === true);
  const isGood = answer.status < 400;
  if (!isGood && !flags.include) process.stderr.write(`patchbay: the service answered ${answer.status}\n`);
  return isGood;
}

/** Sent as it is written, so that no number of it changes. */
async function dataOf(data: string | undefined): Promise<Buffer | undefined> {
  if (data === undefined) return undefined;
  if (data === "-") return contentOf("-");
  return data.startsWith("@") ? contentOf(data.slice(1)) : Buffer.from(data);
}

function typeOf(data: Buffer, given: Readonly<Record<string, string>>): Record<string, string> {
  if (Object.keys(given).some((name) => name.toLowerCase() === "content-type")) return {};
  return { "content-type": isJson(data) ? "application/json" : "application/octet-stream" };
}

function isJson(data: Buffer): boolean {
  try {
    JSON.parse(data.toString());
    return true;
  } catch {
    return false;
  }
}

/** A parameter that is given several times is a list. */
function queryOf(pairs: readonly [string, string][]): JsonObject {
  const byName = Map.groupBy(pairs, ([name]) => name);
  return Object.fromEntries([...byName].map(([name, same]) => [name, same.map(([, value]) => value)]));
}

function headerOf(text: string): [string, string] {
  const colon = text.indexOf(":");
  // Not the whole text: its value may be a secret.
  if (colon < 1) throw new Error('--header: give "name: value"');
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

function print({ status, headers, body }: CallServiceResponse, withHead: boolean): void {
  if (withHead) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\n`);
    process.stdout.write(`${status}\n${lines.join("")}\n`);
  }
  switch (body.case) {
    case "json":
      process.stdout.write(`${JSON.stringify(toJson(ValueSchema, body.value), null, 2)}\n`);
      break;
    case "text":
    case "raw":
      process.stdout.write(body.value);
      break;
    case undefined:
      break;
  }
}
