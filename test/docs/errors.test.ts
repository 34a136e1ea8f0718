import { Code } from "@connectrpc/connect";
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Reason } from "#gen/patchbay/errors/v1/errors_pb.js";
import { ServiceError, type ErrorKind, type ReasonName } from "#src/platform/errors.ts";
import { codes, toHttpFailure } from "#src/pipeline/failures.ts";

/** Of each reason, `401 UNAUTHENTICATED` and the like. */
type Outcomes = Map<string, Set<string>>;

class Failure extends ServiceError {
  readonly kind: ErrorKind;
  readonly reason: ReasonName;

  constructor(kind: ErrorKind, reason: ReasonName) {
    super("");
    this.kind = kind;
    this.reason = reason;
  }
}

const documented = readDocument();
const thrown = readCode();
const reasons = Object.keys(Reason).filter((name) => Number.isNaN(Number(name)) && name !== "UNSPECIFIED");

test("docs/errors.md has a section for each reason, and for nothing else", () => {
  expect([...documented.keys()].toSorted()).toStrictEqual(reasons.toSorted());
});

test("each reason but a hang-up is one that the code gives", () => {
  expect([...thrown.keys(), "CANCELED"].toSorted()).toStrictEqual(reasons.toSorted());
});

describe.each([...thrown])("%s", (reason, outcomes) => {
  test("has the HTTP status and the gRPC code that the document says", () => {
    expect(documented.get(reason)).toStrictEqual(outcomes);
  });

  test("has the HTTP status that the contract says", () => {
    const proto = readFileSync("proto/patchbay/errors/v1/errors.proto", "utf8");
    const [, comment = ""] = new RegExp(`((?: *//.*\n)+) *REASON_${reason} =`).exec(proto) ?? [];
    const said = comment.match(/\b[45]\d\d\b/g) ?? [];
    const statuses = [...outcomes].map((outcome) => outcome.split(" ")[0]);
    expect(statuses).toStrictEqual(expect.arrayContaining([...new Set(said)]));
    expect(said).not.toHaveLength(0);
  });
});

function readDocument(): Outcomes {
  const sections = readFileSync("docs/errors.md", "utf8").split(/^### /m).slice(1);
  return new Map(
    sections.map((section) => {
      const [reason = "", , line = ""] = section.split("\n");
      const pairs = line.matchAll(/HTTP (\d{3}) · gRPC `([A-Z_]+)`/g);
      return [reason, new Set([...pairs].map(([, status, code]) => `${status} ${code}`))];
    }),
  );
}

/** The kinds stand beside the reasons in the code, in classes whose constructors take all sorts of things. */
function readCode(): Outcomes {
  const outcomes: Outcomes = new Map();
  const add = (kind: string, reason: string) => {
    const { status } = toHttpFailure(new Failure(kind as ErrorKind, reason as ReasonName));
    const code = Code[codes[kind as ErrorKind]].replace(/(?<=.)[A-Z]/g, "_$&").toUpperCase();
    outcomes.set(reason, (outcomes.get(reason) ?? new Set()).add(`${status} ${code}`));
  };
  for (const file of globSync("src/**/*.ts")) {
    const classes = /readonly kind(?::|\s*=) ([^;]+);\s*readonly reason = "(\w+)"/g;
    for (const [, kinds = "", reason = ""] of readFileSync(file, "utf8").matchAll(classes)) {
      for (const [, kind = ""] of kinds.matchAll(/"(\w+)"/g)) add(kind, reason);
    }
  }
  return outcomes;
}
