import type { MessageInitShape } from "@bufbuild/protobuf";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { CallServiceRequestSchema } from "#gen/patchbay/connections/v1/connection_service_pb.js";

/** What a program left behind. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its status, with the repository's own tools on its path. */
export async function run(
  command: string,
  args: readonly string[],
  input: string | Buffer = "",
): Promise<Ended> {
  const tools = join(import.meta.dirname, "../../node_modules/.bin");
  // Without proxies, which some machines set for all that curl and Go's programs call.
  const outer = Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name));
  const child = spawn(command, args, {
    env: { ...Object.fromEntries(outer), PATH: `${tools}:${process.env["PATH"]}` },
    timeout: 15_000,
  });
  // A program that was refused stops reading.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const ended = once(child, "close") as Promise<[status: number | null]>;
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { status, stdout, stderr };
}

/** A sibling that answers when it is told to, and sees its callers go. */
export interface SlowUpstream extends AsyncDisposable {
  readonly url: string;
  /** The call to a path, as soon as it arrives. */
  call(path: string): Promise<SlowCall>;
}

/** A call that waits for its answer. */
export interface SlowCall {
  answer(json: unknown): void;
  /** Resolves when the caller hung up, or was answered. */
  readonly over: Promise<void>;
}

/** Starts a server that holds every call until the test answers it. */
export async function startSlowUpstream(): Promise<SlowUpstream> {
  const calls = new Map<string, PromiseWithResolvers<SlowCall>>();
  const callTo = (path: string) => {
    const call = calls.get(path) ?? Promise.withResolvers<SlowCall>();
    calls.set(path, call);
    return call;
  };
  const server = createServer(({ url = "" }, response) => {
    callTo(url).resolve({
      answer: (json) => response.setHeader("content-type", "application/json").end(JSON.stringify(json)),
      over: once(response, "close").then(() => undefined),
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    call: (path) => callTo(path).promise,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

type Call = Extract<MessageInitShape<typeof CallServiceRequestSchema>, { $typeName?: never }>;

/** A call to a connected service: an empty POST to its root unless it is told otherwise. */
export function callTo(service: string, call: Call = {}): Call {
  return { service, method: "POST", path: "/", ...call };
}
