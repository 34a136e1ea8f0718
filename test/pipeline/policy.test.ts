import {
  create,
  createFileRegistry,
  setExtension,
  type DescMethod,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptionsSchema,
  MethodOptions_IdempotencyLevel as Level,
} from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import {
  limits,
  LimitsSchema,
  policy,
  PolicySchema,
  type Policy,
} from "#gen/patchbay/options/v1/options_pb.js";
import { asksForUser } from "#src/pipeline/gate.ts";
import { services } from "#src/client/services.ts";
import { PolicyFaults, policyOf, requirePolicies, scopeVocabulary } from "#src/pipeline/policy.ts";

type Access = Policy["access"];
const view: Access = { case: "scope", value: "connections:view" };

/** A contract with one method that declares just this. */
function contractWith(declared: {
  limits?: MessageInitShape<typeof LimitsSchema>;
  policy?: {
    access?: Access;
    auditAction?: string[];
    unauditedBecause?: string;
    fourEyes?: boolean;
    fourEyesDeletion?: boolean;
  };
  level?: Level;
}) {
  const options = create(MethodOptionsSchema, {
    idempotencyLevel: declared.level ?? Level.IDEMPOTENCY_UNKNOWN,
  });
  if (declared.policy) setExtension(options, policy, create(PolicySchema, declared.policy));
  if (declared.limits) setExtension(options, limits, create(LimitsSchema, declared.limits));
  const file = create(FileDescriptorProtoSchema, {
    name: "t.proto",
    package: "t",
    syntax: "proto3",
    messageType: [{ name: "M" }],
    service: [{ name: "S", method: [{ name: "Do", inputType: ".t.M", outputType: ".t.M", options }] }],
  });
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getService("t.S")!;
}

describe("the service does not start with a method that", () => {
  test.each([
    ["has no policy", {}, "has no policy"],
    ["does not say who may call it", { policy: { unauditedBecause: "x" } }, "does not say who may call it"],
    [
      "asks for a scope that nobody knows",
      { policy: { access: { case: "scope", value: "a:b" } as const, unauditedBecause: "x" } },
      "asks for the unknown scope a:b",
    ],
    [
      "changes something and records nothing",
      { policy: { access: view } },
      "has side effects, no audit action and no reason for that",
    ],
    [
      "reads and records a change",
      { policy: { access: view, auditAction: ["a"] }, level: Level.NO_SIDE_EFFECTS },
      "has no side effects but an audit action",
    ],
    [
      "is four-eyes for everybody",
      { policy: { access: { case: "public", value: true } as const, auditAction: ["a"], fourEyes: true } },
      "is four-eyes without a scope",
    ],
    [
      "is a four-eyes deletion for everybody with a key",
      {
        policy: {
          access: { case: "authenticated", value: true } as const,
          auditAction: ["a"],
          fourEyesDeletion: true,
        },
      },
      "is four-eyes without a scope",
    ],
    [
      "is four-eyes always and where the deployment asks for it",
      { policy: { access: view, auditAction: ["a"], fourEyes: true, fourEyesDeletion: true } },
      "is four-eyes always and by a setting",
    ],
    [
      "has limits, and needs no key",
      {
        policy: { access: { case: "public", value: true } as const, unauditedBecause: "x" },
        limits: { messageBytes: 1 },
      },
      "has limits, which streams and what needs no key do not keep",
    ],
  ])("%s", (_, declared, fault) => {
    const contract = contractWith(declared);
    expect(() => requirePolicies([contract])).toThrow(PolicyFaults);
    expect(() => requirePolicies([contract])).toThrow(`t.S/Do ${fault}`);
  });
});

test("all faults of all methods are told at once", () => {
  const twoFaults = contractWith({ policy: { fourEyes: true } });
  const start = () => requirePolicies([twoFaults, contractWith({})]);
  expect(start).toThrow(/does not say who .*no reason for that.*four-eyes without a scope.*has no policy/s);
});

test("a method without a policy has none that the gate could read, so it is refused", () => {
  const [method] = contractWith({}).methods as [DescMethod];
  expect(() => policyOf(method)).toThrow(/has no policy/);
});

test.each([
  ["sandbox", "live", false],
  ["sandbox", "always", true],
  ["sandbox", "never", false],
  ["live", "live", true],
  ["live", "always", true],
  ["live", "never", false],
] as const)(
  "in the %s environment, four-eyes deletion %s asks for a user: %s",
  (environment, setting, expected) => {
    expect(asksForUser(setting, environment)).toBe(expected);
  },
);

test("each scope of the vocabulary is asked for by a method, but for those that widen what other scopes allow or are for sending to channels", () => {
  const asked = Object.values(services)
    .flatMap((service): readonly DescMethod[] => service.methods)
    .flatMap((method) => (policyOf(method).access.case === "scope" ? [policyOf(method).access.value] : []));
  const others = ["api:grant", "connections:manage", "events:publish"];
  expect(new Set(asked)).toStrictEqual(new Set(scopeVocabulary.filter((scope) => !others.includes(scope))));
});
