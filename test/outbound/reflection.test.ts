import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { reflects } from "#src/outbound/reflection.ts";
import { bearerToken } from "../support/credential.ts";
import { response, startUpstream, type Answer } from "./network.ts";

const token = "cAn4ry-5d1e/8b+f=";

/** What comes of a call whose service answers so. */
async function call(answer: Answer, secret = token) {
  await using upstream = await startUpstream(answer);
  const outbound = createOutbound({ allow: parseOutboundAllow("127.0.0.1") });
  try {
    return await outbound.send({
      share: "acme",
      baseUrl: upstream.origin,
      method: "GET",
      path: "/",
      credential: bearerToken(upstream.origin, secret),
    });
  } catch (error) {
    return error;
  } finally {
    await outbound.close();
  }
}

function wrongAtTheEnd(bytes: Buffer): Buffer {
  const wrong = Buffer.from(bytes);
  wrong.writeUInt8(255 - wrong.readUInt8(wrong.length - 8), wrong.length - 8);
  return wrong;
}

const percent = (text: string) =>
  text.replace(/./gs, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
const encodings: [string, (text: string) => string][] = [
  ["as it is", (text) => text],
  ["in base64", (text) => Buffer.from(text).toString("base64")],
  ["in base64 behind one byte", (text) => Buffer.from(`:${text}\n`).toString("base64")],
  ["in base64 behind two bytes", (text) => Buffer.from(`u:${text}"}`).toString("base64")],
  ["in URL-safe base64", (text) => Buffer.from(`Bearer ${text}`).toString("base64url")],
  ["in hexadecimal", (text) => Buffer.from(text).toString("hex")],
  ["in capital hexadecimal", (text) => Buffer.from(text).toString("hex").toUpperCase()],
  ["percent-encoded", (text) => encodeURIComponent(text)],
  [
    "percent-encoded in small letters",
    (text) =>
      encodeURIComponent(text)
        .toLowerCase()
        .replace(/.*/, () => encodeURIComponent(text).replace(/%../g, (c) => c.toLowerCase())),
  ],
  ["percent-encoded to the last byte", percent],
  ["with slashes escaped, as PHP writes JSON", (text) => text.replaceAll("/", "\\/")],
  [
    "with escapes, as Go writes JSON",
    (text) => text.replace(/[+=]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`),
  ],
];

describe("an answer that repeats the credential is withheld", () => {
  test.each(encodings)("%s, in the body", async (_, encode) => {
    for (const body of [
      encode(token),
      `${encode(token)} at the start`,
      `at the end ${encode(token)}`,
      `{"x":"${encode(token)}"}`,
    ]) {
      expect(await call(response(body))).toMatchObject({ reason: "CREDENTIAL_REFLECTED" });
    }
  });

  test.each(["utf-16le", "utf-16be"])("in %s, which is decoded for the caller", async (charset) => {
    const bytes = Buffer.from(`{"key":"${token}"}`, "utf16le");
    const body = charset === "utf-16le" ? bytes : bytes.swap16();
    const head = `HTTP/1.1 200 OK\r\ncontent-type: text/plain;charset=${charset}\r\ncontent-length: ${body.length}\r\n\r\n`;
    const answer = Buffer.concat([Buffer.from(head), body]);
    expect(await call(answer)).toMatchObject({ reason: "CREDENTIAL_REFLECTED" });
  });

  test.each(encodings)("%s, in a header", async (_, encode) => {
    expect(await call(response("", `Location: https://ok.example/?t=${encode(token)}\r\n`))).toMatchObject({
      reason: "CREDENTIAL_REFLECTED",
    });
  });

  test("in a compressed body", async () => {
    const body = gzipSync(`${"x".repeat(50_000)}${token}`);
    expect(await call(response(body, "content-encoding: gzip\r\n"))).toMatchObject({
      reason: "CREDENTIAL_REFLECTED",
    });
  });

  test.each([
    ["in a coding that we do not know", "zstd", Buffer.from(`you sent ${token}`)],
    ["in two codings that are none", "gzip, br", Buffer.from(`you sent ${token}`)],
    ["in brotli within gzip", "br, gzip", gzipSync(brotliCompressSync(`you sent ${token}`))],
    ["in gzip that is none", "gzip", Buffer.from(`you sent ${token}`)],
    ["in gzip that is cut off", "gzip", gzipSync(`you sent ${token}. Bye.`).subarray(0, -10)],
    ["in gzip whose checksum is wrong", "gzip", wrongAtTheEnd(gzipSync(`you sent ${token}`))],
    ["in deflate that is cut off", "deflate", deflateSync(`you sent ${token}. Bye.`).subarray(0, -5)],
    [
      "in brotli that is cut off",
      "br",
      brotliCompressSync(`${"x".repeat(99_999)}${token}. Bye.`).subarray(0, -1),
    ],
  ])("%s, although that is passed on as it is", async (_, coding, body) => {
    expect(await call(response(body, `content-encoding: ${coding}\r\n`))).toMatchObject({
      reason: "CREDENTIAL_REFLECTED",
      metadata: { upstream_status: "200" },
    });
  });

  test("cut into chunks and packets", async () => {
    const answer: Answer = (socket) => {
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
      for (const c of token) socket.write(`1\r\n${c}\r\n`);
      socket.write("0\r\n\r\n");
    };
    expect(await call(answer)).toMatchObject({ reason: "CREDENTIAL_REFLECTED" });
  });

  test("in an answer that is an error", async () => {
    expect(await call(response(`bad token ${token}`, "", "401 Unauthorized"))).toMatchObject({
      reason: "CREDENTIAL_REFLECTED",
    });
  });

  test("by a service that echoes the whole request", async () => {
    expect(await call((socket, request) => socket.write(response(request)))).toMatchObject({
      reason: "CREDENTIAL_REFLECTED",
    });
  });

  test("and the refusal does not hold it either", async () => {
    const error = await call(response(token));
    expect(JSON.stringify(error) + String(error) + (error as Error).stack).not.toContain(token);
    expect((error as Error).cause).toBeUndefined();
  });

  test("nor does the error for an answer that is not HTTP and holds it", async () => {
    const error = await call((socket, request) => socket.end(request));
    expect(error).toMatchObject({ reason: "UPSTREAM_UNREACHABLE" });
    expect(JSON.stringify(error) + String(error) + (error as Error).stack).not.toContain(token);
  });
});

describe("an answer that does not", () => {
  test("is passed on, with escapes and signs of every kind", async () => {
    const body = '{"a":"100 % \\u00e9 \\\\ \\/ %zz %4"}\\u00';
    expect(await call(response(body))).toMatchObject({ status: 200, body: Buffer.from(body) });
  });

  test("is passed on when it holds a short credential by chance, but not when it holds its header", async () => {
    expect(await call(response('{"next":"none"}'), "none")).toMatchObject({ status: 200 });
    expect(await call((socket, request) => socket.write(response(request)), "none")).toMatchObject({
      reason: "CREDENTIAL_REFLECTED",
    });
  });
});

test("a credential is found in base64 wherever it stands, whatever stands around it", async () => {
  const secret = fc.string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)),
    minLength: 8,
    maxLength: 64,
  });
  await fc.assert(
    fc.asyncProperty(
      secret,
      fc.uint8Array({ maxLength: 8 }),
      fc.uint8Array({ maxLength: 8 }),
      fc.constantFrom("base64", "base64url", "hex", "latin1"),
      async (text, before, after, encoding) => {
        const around = Buffer.concat([before, Buffer.from(text), after]);
        expect(await reflects([Buffer.from(around.toString(encoding), "latin1")], [text])).toBe(true);
      },
    ),
  );
});

test("a credential with one escape in it is found in a long answer, however far other escapes are", async () => {
  const secret = "the-siblings-own-key";
  const cases = fc.record({
    before: fc.integer({ min: 0, max: 300 }),
    between: fc.integer({ min: 0, max: 300 }),
    escaped: fc.integer({ min: 0, max: secret.length - 1 }),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ before, between, escaped }) => {
      const escape = `%${secret.charCodeAt(escaped).toString(16)}`;
      const echo = secret.slice(0, escaped) + escape + secret.slice(escaped + 1);
      const text = `${"x".repeat(before)}%41${"%x".repeat(between)}${echo}${"x".repeat(between)}\\/`;
      expect(await reflects([Buffer.from(text)], [secret])).toBe(true);
    }),
    { numRuns: 2_000, examples: [[{ before: 0, between: 17, escaped: 6 }]] },
  );
});

test("a long credential is found by its end, and not by what others of its kind begin with", async () => {
  const header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImFtbC0yMDI2LTExIn0.".repeat(3);
  const signature = "q5Jx0b9v".repeat(10);
  expect(await reflects([Buffer.from(`cut: ${signature}`)], [header + signature])).toBe(true);
  expect(await reflects([Buffer.from(`${header}${"another".repeat(12)}`)], [header + signature])).toBe(false);
});

describe("of several secrets", () => {
  const secrets = ["access-token-1", "dXNlcjpwYXNzd29yZA==", "pä:ss:wörd-猫", "user:pw", "k=none"];
  test.each<[string, Buffer]>([
    ...secrets.map((secret): [string, Buffer] => [secret, Buffer.from(secret)]),
    ["one in base64", Buffer.from(Buffer.from("x pä:ss:wörd-猫").toString("base64"))],
    ["one percent-encoded", Buffer.from(encodeURIComponent("pä:ss:wörd-猫"))],
    ["one in JSON escapes of ASCII", Buffer.from('"p\\u00e4:ss:w\\u00f6rd-\\u732b"')],
    ["one in JSON escapes in capitals", Buffer.from('"p\\u00E4:ss:w\\u00F6rd-\\u732B"')],
    ["one in UTF-16", Buffer.from("pä:ss:wörd-猫", "utf16le")],
    ["one in UTF-16, the other way round", Buffer.from("pä:ss:wörd-猫", "utf16le").swap16()],
  ])("%s is found", async (_, answer) => {
    expect(await reflects([Buffer.from("well"), answer], secrets)).toBe(true);
    expect(await reflects([Buffer.from("well"), answer.subarray(0, -4)], secrets)).toBe(false);
  });

  test("one in Latin-1 is found, also in escapes", async () => {
    for (const answer of [Buffer.from("grün-süß", "latin1"), Buffer.from("gr\\u00fcn-s\\u00fc\\u00df")]) {
      expect(await reflects([answer], ["another one", "grün-süß"])).toBe(true);
    }
  });

  test("a short one is not found in what only looks like its base64", async () => {
    const carrier = "k=none";
    const answer = Buffer.from(Buffer.from(carrier).toString("base64"));
    expect(await reflects([answer], [carrier])).toBe(false);
  });
});

test("an answer without the credential is not withheld", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ minLength: 8, unit: fc.constantFrom("a", "b", "c", "1", "/") }),
      fc.string(),
      async (text, body) => {
        fc.pre(!body.includes("a") && !body.includes("/"));
        fc.pre(text.includes("a"));
        expect(await reflects([Buffer.from(body.replace(/[%\\]/g, ""))], [text])).toBe(false);
      },
    ),
  );
});

test("a credential in escapes is found wherever the search in a long answer pauses", async () => {
  const secret = "the-siblings-own-key";
  const escapes = {
    percent: secret.replace(/./g, (c) => `%${c.charCodeAt(0).toString(16)}`),
    json: secret.replace(/./g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
  };
  const cases = fc.record({
    before: fc.integer({ min: 131_072 - 150, max: 131_072 + 20 }),
    filling: fc.constantFrom("x", "%", "\\", "%4", "\\u00"),
    escape: fc.constantFrom<keyof typeof escapes>("percent", "json"),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ before, filling, escape }) => {
      const text = `${filling.repeat(before).slice(0, before - 1)} ${escapes[escape]}`;
      expect(await reflects([Buffer.from(text)], [secret])).toBe(true);
    }),
  );
});
