import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { HttpRuleSchema } from "#gen/google/api/http_pb.js";
import { restRoutes } from "#src/rest/binding.ts";
import { library, serviceWith } from "./support.ts";

type Rule = MessageInitShape<typeof HttpRuleSchema>;
type Shape = Parameters<typeof serviceWith>[1];

const get = (path: string, ...additionalBindings: Rule[]) =>
  create(HttpRuleSchema, { pattern: { case: "get", value: path }, additionalBindings });
const post = (path: string, body: string) =>
  create(HttpRuleSchema, { pattern: { case: "post", value: path }, body });

describe("a rule that cannot be served stops the start", () => {
  test.each<[why: string, rule: Rule, shape: Shape, fault: RegExp]>([
    ["no pattern", {}, {}, /not a path template/],
    ["a template outside the grammar", get("/v1/x-{text}"), {}, /not a path template/],
    ["an unknown field in the path", get("/v1/{nope}"), {}, /names no field/],
    ["a field in its JSON spelling", get("/v1/{snakeCaseName}"), {}, /names no field/],
    ["an unknown nested field", get("/v1/{inner.nope}"), {}, /names no field/],
    ["a field inside a scalar", get("/v1/{text.name}"), {}, /names no field/],
    ["a field inside a well-known type", get("/v1/{at.seconds}"), {}, /names no field/],
    ["a repeated field", get("/v1/{texts}"), {}, /not a single scalar/],
    ["a map", get("/v1/{labels}"), {}, /not a single scalar/],
    ["a message", get("/v1/{inner}"), {}, /not a single scalar/],
    ["a well-known type", get("/v1/{at}"), {}, /not a single scalar/],
    ["several segments for a number", get("/v1/{int32=**}"), {}, /must be a string/],
    ["one variable twice", get("/v1/{text}/{text}"), {}, /twice/],
    ["two fields of one oneof", get("/v1/{left_side}/{right_side}"), {}, /oneof/],
    ["a body on GET", { ...get("/v1/x"), body: "*" }, {}, /GET has no body/],
    [
      "a body on DELETE",
      { pattern: { case: "delete", value: "/v1/x" }, body: "*" },
      {},
      /DELETE has no body/,
    ],
    ["an unknown body field", post("/v1/x", "nope"), {}, /body names nope/],
    ["a nested body field", post("/v1/x", "inner.name"), {}, /body names inner.name/],
    ["one field for path and body", post("/v1/{text}", "text"), {}, /path and body/],
    ["an unknown response field", { ...get("/v1/x"), responseBody: "nope" }, {}, /response_body names nope/],
    ["GET with side effects", get("/v1/x"), { idempotencyLevel: 2 }, /NO_SIDE_EFFECTS/],
    ["a stream", get("/v1/x"), { serverStreaming: true }, /stream/],
    ["a success that is none", get("/v1/x"), { successStatus: 404 }, /success_status 404/],
    ["a success without a body", get("/v1/x"), { successStatus: 204 }, /success_status 204/],
    [
      "an unknown HTTP method",
      { pattern: { case: "custom", value: { kind: "FETCH", path: "/v1/x" } } },
      {},
      /FETCH/,
    ],
    ["a tag that is no answer's to GET", post("/v1/x", "*"), { etag: true }, /POST have no ETag/],
    ["nested bindings", get("/v1/x", get("/v1/y", get("/v1/z"))), {}, /nests/],
    ["the same route twice", get("/v1/{text}", get("/v1/{note}")), {}, /same route/],
    ["`*` beside a variable", get("/v1/{text}/x", get("/v1/*/x")), {}, /same route/],
  ])("%s", (_, rule, shape, fault) => {
    expect(() => restRoutes([serviceWith(rule, shape)])).toThrow(fault);
  });
});

test("all faults are listed at once, each with its method and path", () => {
  const rule = get("/v1/{nope}/", get("/v1/{nope}"), post("/v1/x", "no"));
  expect(() => restRoutes([serviceWith(rule)])).toThrow(
    /"\/v1\/\{nope\}\/": .*\n.*rpc library\.v1\.Library\.Search "\/v1\/\{nope\}": .*\n.*"\/v1\/x": /,
  );
});

test("two services with the same route stop the start", () => {
  expect(() => restRoutes([serviceWith(get("/v1/x")), serviceWith(get("/v1/x"))])).toThrow(/same route/);
});

test("a method without a rule has no route, and every rule has one", () => {
  const routes = restRoutes([library]);
  expect(routes.some((route) => route.method.name === "Hidden")).toBe(false);
  expect(routes.filter((route) => route.method.name === "GetBook")).toHaveLength(8);
});

test("HTTP methods of one path are different routes", () => {
  const rule = get("/v1/{text}", post("/v1/{note}", "*"));
  expect(restRoutes([serviceWith(rule)])).toHaveLength(2);
});
