import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService({ trustedProxyHops: 1, corsOrigins: ["https://app.example"] });
});
afterAll(() => service[Symbol.asyncDispose]());

/** About what the port reads of the headers of one request, and half of it; in whole characters of nine bytes. */
const [whole, half] = [9 * 1_666, 9 * 833];

/** Different characters one after another, which is what Punycode takes longest for. */
const manyCharacters = Array.from({ length: 1_700 }, (_, i) => encodeURIComponent(String.fromCodePoint(0x4e00 + 7 * i))).join(""); // prettier-ignore

/** What may be repeated in a URL as well. */
const pieces = [
  "a", "A1", "%", "%25", "%2525", "%41", "%CC%81", "=", "&a", "&key=", "?", "/", "//", "../", ".", ":", ";", ",", "@",
  "[", "]", "[]", "'", "!", "-", "_", "qe_sk_live_A", "bs_", "aml_a", "bearer%20", "bearer+", "xn--", "1.", "0x", "~", "{}", manyCharacters,
]; // prettier-ignore
const piecesOfHeaders = [...pieces, " ", "\t", ", ", " ,", "; ", "bearer ", '"', "\\", "\u00e9", "\u00a0"];

/** The names of headers that something here reads before it knows who asks. */
const headers = [
  "host", "x-forwarded-for", "x-request-id", "authorization", "origin", "access-control-request-method", "content-type",
  "content-encoding", "accept-encoding", "grpc-encoding", "grpc-accept-encoding", "grpc-timeout", "connect-timeout-ms",
  "connect-protocol-version", "connect-content-encoding", "te", "cookie", "connection", "expect", "idempotency-key",
]; // prettier-ignore

const rpc = "/patchbay.apikeys.v1.ApiKeyService/WhoAmI";

type Attack = (length: number) => { target: string; headers: Record<string, string> };

function repeated(piece: string, length: number): string {
  return piece.repeat(Math.ceil(length / piece.length)).slice(0, length);
}

/** How long the request takes to be answered, in the same process. */
async function timeOf({ target, headers }: ReturnType<Attack>): Promise<number> {
  const lines = { host: "a", "content-length": "0", connection: "close", ...headers };
  const sent = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
  // One that is refused may be reset while it sends.
  socket.on("error", () => {});
  const started = performance.now();
  socket.end(Buffer.from(`POST ${target} HTTP/1.1\r\n${sent.join("")}\r\n`, "latin1"));
  expect(await text(socket).catch(() => "HTTP")).toMatch(/^HTTP/);
  return performance.now() - started;
}

/** Twice the length takes twice the time. What takes less than the slack is no weapon, whatever its shape. */
async function expectLinear(name: string, attack: Attack): Promise<void> {
  const slackMs = 2;
  const best = { whole: Infinity, half: Infinity };
  const grows = () => best.whole > 2.5 * best.half + slackMs;
  // A machine that is busy with something else makes one try slow, and not a hundred of them.
  for (let tries = 0; tries < 100 && (tries < 2 || grows()); tries++) {
    best.half = Math.min(best.half, await timeOf(attack(half)));
    best.whole = Math.min(best.whole, await timeOf(attack(whole)));
  }
  expect(grows(), `${name}: ${best.half} ms for half of what takes ${best.whole} ms`).toBe(false);
}

describe("what a stranger sends takes time in proportion to its length", () => {
  test.each(headers)("in the header %s, whatever it is made of", async (header) => {
    for (const piece of piecesOfHeaders) {
      for (const target of [rpc, "/api/api-keys"]) {
        const attack = (length: number) => ({
          target,
          headers: { [header]: `x${repeated(piece, length)}x` },
        });
        await expectLinear(`${header} of ${JSON.stringify(piece.slice(0, 20))} to ${target}`, attack);
      }
    }
  });

  test.each([
    ["path", "/"],
    ["path behind another", "/api/api-keys/"],
    ["path of an RPC", `${rpc}/`],
    ["verb", "/api/api-keys:"],
    ["query", "/api/auth/me?"],
    ["query of an RPC", `${rpc}?`],
    ["message of a Connect GET", `${rpc}?encoding=json&message=`],
    ["page's query", "/healthz?"],
    ["authority of a whole URL", "http://"],
    ["path of a whole URL", "http://a/"],
  ])("in the %s, whatever it is made of", async (_, start) => {
    for (const piece of pieces) {
      const attack = (length: number) => ({ target: `${start}${repeated(piece, length)}`, headers: {} });
      await expectLinear(`${start} with ${JSON.stringify(piece.slice(0, 20))}`, attack);
    }
    const rest = (length: number) => ({ target: `${start}${repeated("a", length)}${rpc}`, headers: {} });
    await expectLinear(`${start} before ${rpc}`, rest);
  });

  test("in as many headers as fit", async () => {
    for (const name of ["a", "x-forwarded-for", "authorization", "cookie"]) {
      const attack = (length: number) => ({
        target: rpc,
        headers: { y: `1\r\n${repeated(`${name}: 1\r\n`, length - (length % `${name}: 1\r\n`.length))}z: 1` },
      });
      await expectLinear(`lines of ${name}`, attack);
    }
  });
});

test("a host that no name can be is refused, in the terms of the protocol", async () => {
  const long = "a.".repeat(200);
  const ask = async (type: string, target: string, host: string) => {
    const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
    socket.end(
      `POST ${target} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: ${type}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}`,
    );
    return text(socket);
  };
  for (const [target, host] of [
    [rpc, long],
    [`http://${long}${rpc}`, "a"],
    [`http://[${rpc}`, "a"],
  ] as const) {
    const json = await ask("application/json", target, host);
    expect(json).toMatch(/^HTTP\/1\.1 400 /);
    expect(JSON.parse(/\{.*\}/s.exec(json)![0])).toMatchObject({
      code: "invalid_argument",
      details: [{ debug: { reason: "INVALID_REQUEST" } }],
    });
    const grpc = await ask("application/grpc-web+proto", target, host);
    expect(grpc).toMatch(/^HTTP\/1\.1 200 /);
    expect(grpc).toMatch(/^grpc-status: 3\r$/im);
    expect(grpc).toMatch(/^grpc-status-details-bin: \S+\r$/im);
  }
});
