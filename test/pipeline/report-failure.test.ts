import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { createReportFailure } from "#src/pipeline/report-failure.ts";
import { recordingLog } from "../net/support.ts";

const call = { requestId: "req_1", rpc: "patchbay.apikeys.v1.ApiKeyService/IssueKey" } as Parameters<
  ReturnType<typeof createReportFailure>
>[1];

/** What the log has after a failure of a call whose caller has gone, and what the caller would get. */
function afterTheEnd(thrown: unknown, reason: unknown = new ConnectError("gone", Code.Canceled)) {
  const { lines, log } = recordingLog();
  const error = createReportFailure(log, { note: () => {} })(thrown, call, AbortSignal.abort(reason));
  return { code: error.code, lines };
}

test("a fault in a call whose caller has gone is in the log", () => {
  const { code, lines } = afterTheEnd(new TypeError("a bug"));
  expect(code).toBe(Code.Canceled);
  expect(lines).toMatchObject([{ level: 40, requestId: "req_1", err: { message: "a bug" } }]);
});

test("a call that fails by having ended leaves nothing in the log", () => {
  const reason = new ConnectError("gone", Code.Canceled);
  expect(afterTheEnd(reason, reason).lines).toStrictEqual([]);
  expect(afterTheEnd(new DOMException("aborted", "AbortError")).lines).toStrictEqual([]);
});
