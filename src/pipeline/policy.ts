import { getOption, hasOption, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { http } from "#gen/google/api/annotations_pb.js";
import { limits, policy as policyOption, type Policy } from "#gen/patchbay/options/v1/options_pb.js";
import type { RawRoute } from "#src/platform/raw-route.ts";

/** The scopes of this service's own methods. Keys may hold others, which other services check. */
export const scopeVocabulary = [
  "connections:view",
  "connections:write",
  "connections:use",
  "connections:manage",
  "catalog:view",
  "catalog:write",
  "api:manage",
  "api:grant",
  "keys:verify",
  "audit:view",
  "directory:view",
  "directory:write",
  "channels:view",
  "channels:write",
  "events:view",
  "events:consume",
  "events:publish",
  "webhooks:manage",
] as const;

/** Standard services, whose contracts cannot carry our options. They tell nothing of any organisation. */
const openPackages = /^grpc\.(?<name>health|reflection)\./;

/** What a method declares that the gate acts on. */
export type MethodPolicy = Pick<
  Policy,
  "access" | "auditAction" | "fourEyes" | "fourEyesDeletion" | "unmeteredBecause" | "repeated"
>;

const open: MethodPolicy = {
  access: { case: "public", value: true },
  auditAction: [],
  fourEyes: false,
  fourEyesDeletion: false,
  unmeteredBecause: "",
  repeated: "",
};
/**
 * Many load balancers may stand behind one address, and one that is refused takes the service for dead. A watch is
 * bounded by the streams of its address.
 */
const health: MethodPolicy = { ...open, unmeteredBecause: "load balancers ask it" };

const policies = new WeakMap<DescMethod, MethodPolicy>();

/** Which callers a method admits and what it leaves behind. Throws for a method that does not declare it. */
export function policyOf(method: DescMethod): MethodPolicy {
  const known = policies.get(method);
  if (known !== undefined) return known;
  const policy = readPolicy(method);
  policies.set(method, policy);
  return policy;
}

// Options are decoded anew each time that they are asked for.
function readPolicy(method: DescMethod): MethodPolicy {
  const standard = openPackages.exec(method.parent.typeName)?.groups?.["name"];
  if (standard !== undefined) return standard === "health" ? health : open;
  if (!hasOption(method, policyOption)) throw new PolicyFaults([`${nameOf(method)} has no policy`]);
  return getOption(method, policyOption);
}

/** What a caller comes in for: an RPC, or a path that is served as it is. */
export interface Entrance {
  /** Stands in the log, the metrics and the audit. */
  readonly name: string;
  readonly policy: MethodPolicy;
  /** Goes on for as long as the caller likes. */
  readonly isStream: boolean;
  /** The query is another service's: what its parameters are called says nothing here. */
  readonly hasForeignQuery: boolean;
}

const entrances = new WeakMap<DescMethod, Entrance>();

/** A method as the gate sees it. Throws for one that does not declare its policy. */
export function entranceOf(method: DescMethod): Entrance {
  const known = entrances.get(method);
  if (known !== undefined) return known;
  const isStream = method.methodKind !== "unary";
  const entrance = { name: nameOf(method), policy: policyOf(method), isStream, hasForeignQuery: false };
  entrances.set(method, entrance);
  return entrance;
}

/** A path that is served as it is, to callers with this scope. */
export function rawEntrance({ name, scope, auditActions = [], hasForeignQuery }: RawRoute): Entrance {
  if (!isKnownScope(scope)) throw new PolicyFaults([`${name} asks for the unknown scope ${scope}`]);
  const auditAction = [...auditActions];
  const policy: MethodPolicy = { ...open, access: { case: "scope", value: scope }, auditAction };
  return { name, policy, isStream: true, hasForeignQuery };
}

/** Whether a call can be named by an `Idempotency-Key`: each audited method that is a POST over REST. */
export function takesIdempotencyKey(method: DescMethod): boolean {
  return policyOf(method).auditAction.length > 0 && getOption(method, http).pattern.case === "post";
}

/** Contracts that the service will not serve. */
export class PolicyFaults extends Error {
  override readonly name = "PolicyFaults";

  constructor(faults: readonly string[]) {
    super(
      `the service's contracts are not safe to serve:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`,
    );
  }
}

/**
 * Stops the start when a method leaves open which callers it admits or what it records. All faults are reported at
 * once.
 */
export function requirePolicies(services: readonly DescService[]): void {
  const faults = services
    .filter((service) => !openPackages.test(service.typeName))
    .flatMap((service) => service.methods.flatMap(faultsOf));
  if (faults.length > 0) throw new PolicyFaults(faults);
}

/** What is wrong with a method's declarations. */
export function faultsOf(method: DescMethod): string[] {
  const name = nameOf(method);
  if (!hasOption(method, policyOption)) return [`${name} has no policy`];
  const policy = getOption(method, policyOption);
  const reads = method.idempotency === IdempotencyLevel.NO_SIDE_EFFECTS;
  const faults: string[] = [];
  if (policy.access.case === undefined) faults.push(`${name} does not say who may call it`);
  if (policy.access.case === "scope" && !isKnownScope(policy.access.value)) {
    faults.push(`${name} asks for the unknown scope ${policy.access.value}`);
  }
  if (policy.access.case !== "scope" && policy.access.value === false) {
    faults.push(`${name} sets ${policy.access.case} to false`);
  }
  if (reads && policy.auditAction.length > 0) faults.push(`${name} has no side effects but an audit action`);
  if (!reads && policy.auditAction.length === 0 && policy.unauditedBecause === "") {
    faults.push(`${name} has side effects, no audit action and no reason for that`);
  }
  const { fourEyes, fourEyesDeletion } = policy;
  if ((fourEyes || fourEyesDeletion) && policy.access.case !== "scope") {
    faults.push(`${name} is four-eyes without a scope`);
  }
  if (hasOption(method, limits) && (policy.access.case === "public" || method.methodKind !== "unary")) {
    faults.push(`${name} has limits, which streams and what needs no key do not keep`);
  }
  if (fourEyes && fourEyesDeletion) faults.push(`${name} is four-eyes always and by a setting`);
  return faults;
}

function isKnownScope(scope: string): boolean {
  return (scopeVocabulary as readonly string[]).includes(scope);
}

/** `<package>.<Service>/<Method>`. */
function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
