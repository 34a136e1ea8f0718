import type { HandlerContext } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { services } from "#src/client/services.ts";
import { callHttp2, connectBytes, frame, sendHttp1, type Wire } from "./calls.ts";
import { serveContract } from "../serve-contract.ts";
import { masked } from "./mask.ts";

const { whoAmI } = services.apiKeys.method;

/** What a handler does beside its answer; none of the service's own does any of it today. */
type Deed = (context: HandlerContext) => unknown;

const deeds: Readonly<Record<string, Deed>> = {
  "sets a header": ({ responseHeader }) => responseHeader.set("x-own", "a"),
  "sets a header twice": ({ responseHeader }) => {
    responseHeader.append("x-own", "a");
    responseHeader.append("x-own", "b");
  },
  "sets a trailer": ({ responseTrailer }) => responseTrailer.set("x-own", "a"),
  "sets a trailer twice": ({ responseTrailer }) => {
    responseTrailer.append("x-own", "a");
    responseTrailer.append("x-own", "b");
  },
  "sets header and trailer of one name": ({ responseHeader, responseTrailer }) => {
    responseHeader.set("x-own", "header");
    responseTrailer.set("x-own", "trailer");
  },
  "sets a binary header": ({ responseHeader }) => responseHeader.set("x-own-bin", "AAH/"),
  "sets a header of the gate": ({ responseHeader }) => responseHeader.set("ratelimit", "own"),
  "sets headers and fails": ({ responseHeader, responseTrailer }) => {
    responseHeader.set("x-own", "header");
    responseTrailer.set("x-own", "trailer");
    throw new Error("select secret from keys");
  },
  "reads its headers": ({ requestHeader }) =>
    [requestHeader.get("x-asked"), requestHeader.get("content-type"), requestHeader.has(":path")].join("|"),
  "reads where it was asked": ({ url, requestMethod }) => `${requestMethod} ${url}`,
  "reads what it serves": ({ method, service, protocolName }) =>
    [method.name, service.typeName, protocolName].join("|"),
  "reads that it has time": ({ timeoutMs, signal }) =>
    [(timeoutMs() ?? Infinity) > 60_000, (timeoutMs() ?? Infinity) <= 65_000, signal.aborted].join("|"),
};

/** The way into one handler for all methods, which does the deed that the header `x-deed` names. */
function serveDeeds(unaryLane: "on" | "off") {
  const handle = (_: unknown, context: HandlerContext) => {
    const read = deeds[context.requestHeader.get("x-deed") ?? ""]!(context);
    return { name: String(read) };
  };
  return serveContract(ApiKeyService, handle, unaryLane);
}

let wires: readonly Awaited<ReturnType<typeof serveDeeds>>[];
beforeAll(async () => {
  wires = [await serveDeeds("off"), await serveDeeds("on")];
});
afterAll(() => Promise.all(wires.map(({ open }) => open.drain(1_000))));

describe.each(Object.keys(deeds))("what a handler that %s is answered with is the same both ways", (deed) => {
  const own = { "x-deed": deed, "x-asked": "Ä" };
  test.each<[string, (wire: Wire) => Promise<unknown>]>([
    [
      "Connect",
      (wire) => {
        const lines = Object.entries(own).map(([name, value]) => `${name}: ${value}`);
        return sendHttp1(wire, [connectBytes({ method: whoAmI, secret: "k", lines }, "id")], {
          method: whoAmI,
        });
      },
    ],
    [
      "gRPC",
      (wire) => callHttp2(wire, "id", { method: whoAmI, secret: "k", headers: own, steps: [frame(), "end"] }),
    ],
  ])("over %s", async (_protocol, ask) => {
    const [without, through] = await Promise.all(wires.map((wire) => ask(wire)));
    expect(masked(through), '"-" is Connect, "+" is the lane').toStrictEqual(masked(without));
  });
});
