import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import {
  Consistency,
  VerifyKeyCode,
  type VerifyKeyRequestSchema,
  type VerifyKeyResponse,
  VerifyKeyResponseSchema,
  type WatchRevocationsResponse,
  WatchRevocationsResponseSchema,
} from "#gen/patchbay/verification/v1/verification_service_pb.js";
import type { Verdict } from "#src/client/guard/verdict.ts";
import { createVerifier } from "#src/client/guard/verifier.ts";

const question = { key: "Bearer secret", scopes: ["rules:view"] };

describe("an answer that is remembered", () => {
  test("serves the same question without asking again, and no other question", async () => {
    const patchbay = await playPatchbay();
    expect(await patchbay.admitted(question)).toBe(true);
    expect(await patchbay.admitted(question)).toBe(true);
    expect(patchbay.asked).toHaveLength(1);
    for (const other of [
      { ...question, key: "Bearer secreT" },
      { ...question, scopes: ["rules:view", "rules:write"] },
      { ...question, scopes: [] },
      { ...question, endpoint: { serviceSlug: "aml", method: "GET", path: "/api/rules" } },
      { ...question, endpoint: { serviceSlug: "aml", method: "PUT", path: "/api/rules" } },
      { ...question, environment: "live" },
      { ...question, callerServiceSlug: "aml" },
      { ...question, sourceIp: "aml" },
      { ...question, fourEyes: true },
      { ...question, distinctFromUserIds: ["usr_1"] },
    ]) {
      const before = patchbay.asked.length;
      await patchbay.verify(other);
      expect(patchbay.asked).toHaveLength(before + 1);
    }
  });

  test("is as old as its question, and 5 seconds are the most", async () => {
    const patchbay = await playPatchbay();
    patchbay.answers = (asked) => {
      patchbay.now += 1_000;
      return good(asked);
    };
    await patchbay.verify(question);
    patchbay.now += 3_999;
    await patchbay.hear({});
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(1);
    patchbay.now += 1;
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(2);
  });

  test("is not used past the end of the key", async () => {
    const patchbay = await playPatchbay();
    const expiresAt = timestampFromMs(Date.now() + 1_500);
    patchbay.answers = () => answer({ principal: { apiKeyId: "key_1", expiresAt } });
    await patchbay.verify(question);
    patchbay.now += 1_000;
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(1);
    patchbay.now += 501;
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(2);
  });

  test("is used as often as the key's budget allows, and what was used is reported", async () => {
    const patchbay = await playPatchbay();
    patchbay.answers = () => answer({ remaining: 3 });
    for (let i = 0; i < 4; i++) expect(await patchbay.admitted(question)).toBe(true);
    expect(patchbay.asked).toHaveLength(1);
    patchbay.answers = () => answer({ remaining: 2 });
    await patchbay.verify({ ...question, scopes: [] });
    await patchbay.verify(question);
    await patchbay.verify({ ...question, scopes: [] });
    expect(patchbay.asked.map(({ alreadyMade }) => alreadyMade)).toEqual([0, 3]);
    // Two were left to both questions together.
    await patchbay.verify({ ...question, scopes: [] });
    expect(patchbay.asked.map(({ alreadyMade }) => alreadyMade)).toEqual([0, 3, 2]);
  });

  test("says what is left by now", async () => {
    const patchbay = await playPatchbay();
    patchbay.answers = () => answer({ remaining: 99, headers: { ratelimit: `"default";r=99;t=1` } });
    const headers = [];
    for (let i = 0; i < 3; i++) headers.push((await patchbay.verify(question)).headers);
    expect(headers).toEqual([
      { ratelimit: `"default";r=99;t=1` },
      { ratelimit: `"default";r=98;t=1` },
      { ratelimit: `"default";r=97;t=1` },
    ]);
  });

  test("cannot be changed by whoever is handed it", async () => {
    const patchbay = await playPatchbay();
    const { principal } = await patchbay.verify(question);
    expect(() => principal!.scopes.push("rules:write")).toThrow(TypeError);
    expect(() => (principal!.effectiveUserId = "usr_2")).toThrow(TypeError);
    expect(() => (principal!.metadata["team"] = "another")).toThrow(TypeError);
  });

  test("is a refusal only for requests beyond the limit, until they may come again, and for those without a key", async () => {
    const patchbay = await playPatchbay();
    const refused = { status: 403, body: `{"error":"missing scope: rules:view"}` };
    patchbay.answers = () => answer({ code: VerifyKeyCode.MISSING_SCOPE, refused });
    await patchbay.verify(question);
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(2);

    const headers = { "retry-after": "2" };
    const limited = { status: 429, headers, body: `{"error":"rate limit exceeded"}` };
    patchbay.answers = () => answer({ code: VerifyKeyCode.RATE_LIMITED, refused: limited, remaining: 0 });
    await patchbay.verify(question);
    patchbay.now += 1_999;
    expect(await patchbay.verify(question)).toMatchObject(limited);
    expect(patchbay.asked).toHaveLength(3);
    patchbay.now += 1;
    patchbay.answers = good;
    expect(await patchbay.admitted(question)).toBe(true);

    const malformed = { status: 401, body: `{"error":"missing or invalid Bearer"}` };
    patchbay.answers = () => answer({ code: VerifyKeyCode.MALFORMED, refused: malformed, apiKeyId: "" });
    for (const key of ["", "", "Bearer made up", "Bearer made up"]) await patchbay.verify({ key });
    patchbay.now += 5_000;
    await patchbay.hear({});
    await patchbay.verify({ key: "" });
    const keys = patchbay.asked.slice(4).map(({ key }) => key);
    expect(keys).toEqual(["", "Bearer made up", "Bearer made up", ""]);
  });
});

describe("concurrent requests that ask the same", () => {
  test("ask once, and each of them counts", async () => {
    const patchbay = await playPatchbay();
    patchbay.hold();
    const requests = Array.from({ length: 5 }, () => patchbay.admitted(question));
    await patchbay.release(() => answer({ remaining: 10 }));
    expect(await Promise.all(requests)).toEqual([true, true, true, true, true]);
    expect(patchbay.asked).toHaveLength(1);
    await patchbay.verify({ ...question, scopes: [] });
    expect(patchbay.asked[1]!.alreadyMade).toBe(4);
  });

  test("ask again when the answer is not enough for all", async () => {
    const patchbay = await playPatchbay();
    patchbay.hold();
    const requests = Array.from({ length: 5 }, () => patchbay.admitted(question));
    const limited = { status: 429, headers: { "retry-after": "1" }, body: "{}" };
    patchbay.answers = () => answer({ code: VerifyKeyCode.RATE_LIMITED, refused: limited, remaining: 0 });
    await patchbay.release(() => answer({ remaining: 2 }));
    expect((await Promise.all(requests)).filter(Boolean)).toHaveLength(3);
    expect(patchbay.asked).toHaveLength(2);
  });

  test("that are more than the key's limit allows do not wait one for another, each time a little", async () => {
    const patchbay = await playPatchbay();
    patchbay.hold();
    const requests = Array.from({ length: 10 }, () => patchbay.admitted(question));
    // As much comes back as takes the time of one answer.
    const spent = () => answer({ remaining: 0 });
    await patchbay.answerOne(spent);
    await patchbay.answerOne(spent);
    expect(patchbay.asked).toHaveLength(10);
    const limited = { status: 429, headers: { "retry-after": "1" }, body: "{}" };
    await patchbay.release(() =>
      answer({ code: VerifyKeyCode.RATE_LIMITED, refused: limited, remaining: 0 }),
    );
    expect((await Promise.all(requests)).filter(Boolean)).toHaveLength(2);
  });

  test("of a key that has ended by this machine's clock alone do not wait one for another either", async () => {
    const patchbay = await playPatchbay();
    patchbay.hold();
    const requests = Array.from({ length: 10 }, () => patchbay.admitted(question));
    const expiresAt = timestampFromMs(Date.now() - 60_000);
    const ended = () => answer({ principal: { apiKeyId: "key_1", expiresAt } });
    await patchbay.answerOne(ended);
    await patchbay.answerOne(ended);
    await patchbay.release(ended);
    expect(await Promise.all(requests)).toEqual(Array(10).fill(true));
    expect(patchbay.asked).toHaveLength(10);
  });

  test("share a refusal", async () => {
    const patchbay = await playPatchbay();
    patchbay.hold();
    const requests = Array.from({ length: 5 }, () => patchbay.verify(question));
    const refused = { status: 401, body: `{"error":"key expired"}` };
    await patchbay.release(() => answer({ code: VerifyKeyCode.EXPIRED, refused }));
    for (const verdict of await Promise.all(requests)) expect(verdict).toMatchObject(refused);
    expect(patchbay.asked).toHaveLength(1);
  });
});

describe("a change of a key", () => {
  test("makes the guard forget what it knows of that key, and of no other", async () => {
    const patchbay = await playPatchbay();
    const other = { ...question, key: "Bearer other" };
    patchbay.answers = (asked) => good(asked, asked.key === other.key ? "key_2" : "key_1");
    await patchbay.verify(question);
    await patchbay.verify(other);
    await patchbay.hear({ apiKeyIds: ["key_1"] });
    await patchbay.verify(other);
    expect(patchbay.asked).toHaveLength(2);
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(3);
  });

  test("is not missed by asking a replica that did not hear of it yet", async () => {
    const patchbay = await playPatchbay();
    await patchbay.verify(question);
    await patchbay.hear({ apiKeyIds: ["key_1"] });
    await patchbay.verify(question);
    // A question that the guard never asked is about a key that it cannot know before the answer.
    await patchbay.verify({ ...question, key: "Bearer second secret of the key" });
    expect(patchbay.asked.map(({ consistency }) => consistency)).toEqual([
      Consistency.UNSPECIFIED,
      Consistency.STRONG,
      Consistency.UNSPECIFIED,
      Consistency.STRONG,
    ]);
    // What is that old no replica remembers.
    patchbay.now += 5_001;
    await patchbay.hear({});
    await patchbay.verify(question);
    expect(patchbay.asked.at(-1)!.consistency).toBe(Consistency.UNSPECIFIED);
  });

  test("that is heard of while a question is under way makes it be asked again", async () => {
    const patchbay = await playPatchbay();
    patchbay.hold();
    const before = patchbay.admitted(question);
    await patchbay.hear({ apiKeyIds: ["key_1"] });
    const after = patchbay.admitted(question);
    patchbay.answers = () => answer({ code: VerifyKeyCode.REVOKED, refused: { status: 401, body: "{}" } });
    await patchbay.release(good);
    expect(await Promise.all([before, after])).toEqual([false, false]);
  });

  test("of everything keeps what was asked before from being remembered", async () => {
    const patchbay = await playPatchbay();
    patchbay.hold();
    const before = patchbay.admitted(question);
    await patchbay.hear({ forgetAll: true });
    const after = patchbay.admitted(question);
    await patchbay.release(good);
    expect(await Promise.all([before, after])).toEqual([true, true]);
    expect(patchbay.asked).toHaveLength(2);
  });

  test("lets in no request that came after it was heard of, in whatever order all else happens", async () => {
    const happening = fc.oneof(
      { weight: 4, arbitrary: fc.constant("request" as const) },
      { weight: 3, arbitrary: fc.constant("answer" as const) },
      { weight: 1, arbitrary: fc.constant("revoke" as const) },
      { weight: 2, arbitrary: fc.constant("hear" as const) },
      { weight: 1, arbitrary: fc.constant("forget all" as const) },
      { weight: 1, arbitrary: fc.constant("a second passes" as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { minLength: 10, maxLength: 60, size: "max" }), async (order) => {
        const patchbay = await playPatchbay();
        patchbay.hold();
        let revoked = false;
        let heard = false;
        const late: Promise<boolean>[] = [];
        // A replica that has not heard of it takes the key for good for ever; only the database knows better.
        const stale: Answers = (asked) =>
          revoked && asked.consistency === Consistency.STRONG
            ? answer({ code: VerifyKeyCode.REVOKED, refused: { status: 401, body: "{}" } })
            : good(asked);
        for (const what of order) {
          if (what === "request") {
            const admitted = patchbay.admitted(question);
            if (heard) late.push(admitted);
          } else if (what === "answer") await patchbay.answerOne(stale);
          else if (what === "revoke") revoked = true;
          else if (what === "hear" && revoked && !heard) {
            await patchbay.hear({ apiKeyIds: ["key_1"] });
            heard = true;
          } else if (what === "forget all") await patchbay.hear({ forgetAll: true });
          else if (what === "a second passes" && !heard) {
            patchbay.now += 1_000;
            await patchbay.hear({});
          }
        }
        patchbay.answers = stale;
        await patchbay.release(stale);
        for (const admitted of late) expect(await admitted).toBe(false);
      }),
      { numRuns: 200 },
    );
  });
});

describe("without the stream of changes", () => {
  test("nothing is remembered after 3 seconds of silence, until there is word again", async () => {
    const patchbay = await playPatchbay();
    await patchbay.verify(question);
    patchbay.now += 3_000;
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(1);
    patchbay.now += 1;
    await patchbay.verify(question);
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(3);
    await patchbay.hear({});
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(3);
  });

  test("nothing is remembered once it broke, and it is opened again and forgets what it knew", async () => {
    const patchbay = await playPatchbay();
    await patchbay.verify(question);
    await patchbay.endStream(new ConnectError("the service stops", Code.Unavailable));
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(2);
    await vi.waitUntil(() => patchbay.streams === 2);
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(3);
    await patchbay.hear({ forgetAll: true });
    await patchbay.verify(question);
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(4);
  });

  test("nothing is remembered before it says to forget everything", async () => {
    const patchbay = await playPatchbay({ hearing: false });
    await patchbay.verify(question);
    await patchbay.hear({});
    await patchbay.verify(question);
    expect(patchbay.asked).toHaveLength(2);
  });

  test("a closed guard goes on to ask", async () => {
    const patchbay = await playPatchbay();
    await patchbay.verify(question);
    patchbay.close();
    expect(await patchbay.admitted(question)).toBe(true);
    expect(patchbay.asked).toHaveLength(2);
    expect(patchbay.streams).toBe(1);
  });
});

describe("without Patchbay", () => {
  const down = () => {
    throw new ConnectError("connect ECONNREFUSED", Code.Unavailable);
  };
  const unavailable = {
    status: 503,
    headers: { "content-type": "application/json", "retry-after": "1" },
    body: `{"error":"keys cannot be verified right now; try again"}`,
  };

  test("what is remembered is good until the last word of changes is 5 seconds old", async () => {
    const patchbay = await playPatchbay();
    await patchbay.endStream(new ConnectError("gone", Code.Aborted));
    patchbay.now += 1_000;
    await patchbay.verify(question);
    patchbay.answers = down;
    patchbay.now += 3_999;
    expect(await patchbay.admitted(question)).toBe(true);
    // The answer itself is 4 seconds old.
    patchbay.now += 1;
    expect(await patchbay.verify(question)).toEqual(unavailable);
  });

  test("a stream that does not begin with forgetting everything is no word of changes", async () => {
    const patchbay = await playPatchbay();
    await patchbay.endStream(new ConnectError("gone", Code.Aborted));
    await vi.waitUntil(() => patchbay.streams === 2);
    patchbay.now += 4_999;
    await patchbay.verify(question);
    await patchbay.hear({});
    patchbay.answers = down;
    expect(await patchbay.admitted(question)).toBe(true);
    patchbay.now += 1;
    expect(await patchbay.verify(question)).toEqual(unavailable);
  });

  test("nobody is let in on an answer that is 5 seconds old, nor beyond the budget", async () => {
    const patchbay = await playPatchbay();
    patchbay.answers = () => answer({ remaining: 1 });
    await patchbay.verify(question);
    patchbay.answers = down;
    expect(await patchbay.admitted(question)).toBe(true);
    expect(await patchbay.verify(question)).toEqual(unavailable);
    patchbay.now += 5_000;
    await patchbay.hear({});
    expect(await patchbay.verify(question)).toEqual(unavailable);
  });

  test("everybody whose question nobody answered before is refused", async () => {
    const patchbay = await playPatchbay();
    await patchbay.verify(question);
    patchbay.answers = down;
    expect(await patchbay.verify({ ...question, scopes: [] })).toEqual(unavailable);
    expect(await patchbay.verify({ key: "" })).toEqual(unavailable);
    expect(patchbay.told).toEqual(["Patchbay cannot be asked", "Patchbay cannot be asked"]);
  });

  test.each([Code.Unauthenticated, Code.PermissionDenied])(
    "a refusal of the guard's own key (code %i) refuses everybody, with what is remembered",
    async (code) => {
      const patchbay = await playPatchbay();
      await patchbay.verify(question);
      await patchbay.endStream(new ConnectError("your own key changed", Code.Unavailable));
      patchbay.answers = () => {
        throw new ConnectError("missing or invalid Bearer", code);
      };
      expect(await patchbay.verify(question)).toEqual(unavailable);
      expect(patchbay.told).toEqual([
        "Patchbay refuses the guard's own key; give it one that holds keys:verify",
      ]);
    },
  );

  test.each<[string, MessageInitShape<typeof VerifyKeyResponseSchema>]>([
    ["empty", {}],
    ["valid without a principal", { valid: true, code: VerifyKeyCode.VALID, budget: { remaining: 5 } }],
    ["not valid, of code VALID", { code: VerifyKeyCode.VALID, principal: { apiKeyId: "key_1" } }],
    ["a refusal with status 0", { code: VerifyKeyCode.REVOKED, answer: { status: 0, body: "{}" } }],
    ["a refusal with status 200", { code: VerifyKeyCode.REVOKED, answer: { status: 200, body: "{}" } }],
    ["a refusal with status 600", { code: VerifyKeyCode.REVOKED, answer: { status: 600, body: "{}" } }],
    ["valid for nobody", { valid: true, code: VerifyKeyCode.VALID, principal: { name: "key" } }],
    // What a server cannot send would end its process.
    ...["a\nb: c", "\u20ac", "\u00e9"].map(
      (value): [string, MessageInitShape<typeof VerifyKeyResponseSchema>] => [
        `a header ${JSON.stringify(value)}`,
        { valid: true, principal: { apiKeyId: "key_1" }, answer: { headers: { "x-a": value } } },
      ],
    ),
    ...["x a", "x:a", "x-\u00e9", "x-bin", ""].map(
      (name): [string, MessageInitShape<typeof VerifyKeyResponseSchema>] => [
        `a header named ${JSON.stringify(name)}`,
        { code: VerifyKeyCode.REVOKED, answer: { status: 401, headers: { [name]: "b" } } },
      ],
    ),
  ])("an answer that makes no sense lets nobody in: %s", async (_, nonsense) => {
    const patchbay = await playPatchbay();
    patchbay.answers = () => create(VerifyKeyResponseSchema, nonsense);
    expect(await patchbay.verify(question)).toEqual(unavailable);
    expect(await patchbay.verify(question)).toEqual(unavailable);
    expect(patchbay.asked).toHaveLength(2);
  });
});

type Asked = MessageInitShape<typeof VerifyKeyRequestSchema>;
type Answers = (asked: Asked) => VerifyKeyResponse;

function good(_asked: Asked, apiKeyId = "key_1"): VerifyKeyResponse {
  return answer({ apiKeyId });
}

function answer({
  apiKeyId = "key_1",
  principal = {},
  code = VerifyKeyCode.VALID,
  remaining = 1_000,
  headers = {},
  refused,
}: {
  apiKeyId?: string;
  principal?: object;
  code?: VerifyKeyCode;
  remaining?: number;
  headers?: Record<string, string>;
  refused?: object;
}): VerifyKeyResponse {
  return create(VerifyKeyResponseSchema, {
    valid: refused === undefined,
    code,
    apiKeyId,
    budget: { limit: 1_000, remaining },
    ...(refused === undefined && { principal: { apiKeyId, ...principal } }),
    answer: refused ?? { headers },
  });
}

/** A guard's verifier, with Patchbay and the clock played by the test, and the stream open unless told otherwise. */
async function playPatchbay({ hearing = true } = {}) {
  const asked: Asked[] = [];
  const told: string[] = [];
  /** Questions that wait for their answer, if they are held back. */
  let held: ((answers: Answers) => void)[] | undefined;
  let words = createWords();
  const played = {
    now: 1_000_000,
    answers: good,
    asked,
    told,
    streams: 0,
    verify: (asking: Asked & { key: string }): Promise<Verdict> => verifier.verify(asking),
    admitted: async (asking: Asked & { key: string }) =>
      (await verifier.verify(asking)).principal !== undefined,
    close: () => verifier.close(),
    async hear(message: MessageInitShape<typeof WatchRevocationsResponseSchema>) {
      await words.say(create(WatchRevocationsResponseSchema, message));
    },
    async endStream(error: Error) {
      const ended = words;
      words = createWords();
      await ended.fail(error);
    },
    hold: () => (held = []),
    async answerOne(answers: Answers) {
      held?.shift()?.(answers);
      await settled();
    },
    /** Answers what was held back, and holds nothing back any more. */
    async release(answers: Answers) {
      const waiting = held ?? [];
      held = undefined;
      for (const one of waiting) one(answers);
      await settled();
    },
  };
  const verifier = createVerifier({
    ask: (request) => {
      asked.push(request);
      if (held === undefined) return new Promise((resolve) => resolve(played.answers(request)));
      return new Promise((resolve) => held?.push((answers) => resolve(answers(request))));
    },
    watchRevocations: (signal) => {
      played.streams += 1;
      return words.listen(signal);
    },
    disconnect: () => undefined,
    report: (problem) => told.push(problem),
    monotonicNow: () => played.now,
  });
  if (hearing) {
    await played.verify({ key: "Bearer warm-up" });
    await played.hear({ forgetAll: true });
    asked.length = 0;
  }
  return played;
}

/** A stream whose words are heard before `say` is done. */
function createWords() {
  let take: (next: WatchRevocationsResponse | Error) => void = () => undefined;
  async function* listen(signal: AbortSignal): AsyncGenerator<WatchRevocationsResponse> {
    while (!signal.aborted) {
      const next = await new Promise<WatchRevocationsResponse | Error>((resolve) => (take = resolve));
      if (next instanceof Error) throw next;
      yield next;
    }
  }
  return {
    listen,
    async say(message: WatchRevocationsResponse) {
      take(message);
      await settled();
    },
    async fail(error: Error) {
      take(error);
      await settled();
    },
  };
}

/** Until all that can happen without time passing has happened. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
