import fc from "fast-check";
import { expect, test } from "vitest";
import { createCallSlots } from "#src/outbound/call-slots.ts";

const limits = { callsPerOrigin: 2, callsPerShare: 3, waitingCalls: 4, waitingBytes: 100 };

/** What happens to the calls: one comes, or the one that came so many before the last ends or is given up. */
const event = fc.oneof(
  fc.record({
    share: fc.constantFrom("acme", "globex"),
    origin: fc.constantFrom("a", "b", "c"),
    bytes: fc.constantFrom(0, 1, 60),
  }),
  fc.record({ ends: fc.nat(12) }),
);

interface Call {
  readonly share: string;
  readonly origin: string;
  readonly bytes: number;
  state: "waiting" | "running" | "refused" | "over";
  slot?: Disposable;
  readonly caller: AbortController;
}

/** The states that the calls have by the rules alone. */
function follow(calls: readonly Call[]): void {
  for (const call of calls.filter(({ state }) => state === "waiting")) {
    const running = calls.filter((other) => other.share === call.share && other.state === "running");
    const toOrigin = running.filter((other) => other.origin === call.origin);
    if (running.length < limits.callsPerShare && toOrigin.length < limits.callsPerOrigin)
      call.state = "running";
  }
}

function isRefused(calls: readonly Call[], call: Call): boolean {
  const waiting = calls.filter(
    (other) => other.share === call.share && other.state === "waiting" && other !== call,
  );
  const bytes = waiting.reduce((sum, other) => sum + other.bytes, call.bytes);
  return waiting.length >= limits.waitingCalls || bytes > limits.waitingBytes;
}

test("calls begin as soon as their share may make them, in the order in which they came, and never before", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 40, maxLength: 80 }), async (events) => {
      const slots = createCallSlots(limits);
      const expected: Call[] = [];
      const seen: Call["state"][] = [];
      for (const event of events) {
        if ("share" in event) {
          const index = expected.length;
          const call: Call = { ...event, state: "waiting", caller: new AbortController() };
          expected.push(call);
          seen.push("waiting");
          follow(expected);
          if (call.state === "waiting" && isRefused(expected, call)) call.state = "refused";
          slots.take({ ...event, host: event.origin, signal: call.caller.signal }).then(
            (slot) => {
              call.slot = slot;
              seen[index] = "running";
            },
            () => (seen[index] = call.caller.signal.aborted ? "over" : "refused"),
          );
        } else {
          const index = expected.length - 1 - event.ends;
          const call = expected[index];
          if (call?.state === "waiting") call.caller.abort(new Error("given up"));
          else if (call?.state === "running") {
            call.caller.abort(new Error("too late to give up"));
            call.slot?.[Symbol.dispose]();
            seen[index] = "over";
          } else continue;
          call.state = "over";
          follow(expected);
        }
        await new Promise(setImmediate);
        expect(seen).toStrictEqual(expected.map(({ state }) => state));
      }
    }),
    { numRuns: 300 },
  );
});
