import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { below, stepsOf } from "../pointer.ts";

/** A node of the document, and where it is. */
export interface Place {
  readonly value: JsonValue | undefined;
  readonly pointer: string;
  /** Whether others may read the same node, since it is reached through a reference. */
  readonly shared: boolean;
}

/** A reference that leads nowhere; the message says why. */
export class BrokenReference extends Error {
  /** It leads out of the document, into a file or the network. */
  readonly isOutside: boolean;

  constructor(message: string, isOutside = false) {
    super(message);
    this.isOutside = isOutside;
  }
}

/** Follows the references of one document, and none that leads out of it. */
export interface References {
  /** The node itself, or where its `$ref` leads in the end. Throws BrokenReference. */
  follow(place: Place): Place;
  /** Where a reference leads that stands at the pointer, which may be another reference. Throws BrokenReference. */
  find(ref: string, from: string): Place;
}

/** The node at a step of another. */
export function at(place: Place, step: string | number): Place {
  const { value, pointer, shared } = place;
  return { value: memberOf(value, String(step)), pointer: below(pointer, step), shared };
}

/** The nodes of an object or a list. */
export function within(place: Place): Place[] {
  const { value } = place;
  if (Array.isArray(value)) return value.map((_, index) => at(place, index));
  return isObject(value) ? Object.keys(value).map((name) => at(place, name)) : [];
}

/** A node that is a reference; undefined for any other. */
export function refOf(value: JsonValue | undefined): string | undefined {
  return isObject(value) && typeof value["$ref"] === "string" ? value["$ref"] : undefined;
}

/** More in a row than any document has that means something. */
const maxSteps = 100;

/** Knows where the references of the document lead. */
export function createReferences(document: JsonObject): References {
  const named = once(() => namesIn(document));

  function follow(place: Place): Place {
    let here = place;
    for (let steps = 0; ; steps++) {
      const ref = refOf(here.value);
      if (ref === undefined) return here;
      if (steps === maxSteps) throw new BrokenReference(`${shown(ref)} leads to itself`);
      here = find(ref, here.pointer);
    }
  }

  function find(ref: string, from: string): Place {
    const [resource, fragment] = split(ref);
    const base = resource === "" ? resourceOf(from) : named().resources.get(resource);
    if (base === undefined) {
      throw new BrokenReference(`${shown(ref)} is outside of the document, where nothing is read`, true);
    }
    if (fragment === "" || fragment.startsWith("/")) {
      // Many authors write `$id` and mean nothing by it: their references are those of the document.
      const isOfDocument = resource === "" && memberAt(document, base + fragment) === undefined;
      return walk(ref, isOfDocument ? (holderOf(fragment, from) ?? "") + fragment : base + fragment);
    }
    const anchored = named().anchors.get(`${base}#${fragment}`);
    if (anchored === undefined) throw new BrokenReference(`${shown(ref)} is not in the document`);
    return walk(ref, anchored);
  }

  /**
   * The schema around the pointer that has what the fragment names, if the document itself has not: `#/$defs/a` is
   * written in many that are parts of a document now.
   */
  function holderOf(fragment: string, from: string): string | undefined {
    if (!/^\/(?:\$defs|definitions)\//.test(fragment) || memberAt(document, fragment) !== undefined)
      return undefined;
    for (let end = from.length; end > 0; end = from.lastIndexOf("/", end - 1)) {
      if (memberAt(document, from.slice(0, end) + fragment) !== undefined) return from.slice(0, end);
    }
    return undefined;
  }

  /** The schema with an `$id` around the pointer, in which its references are looked up; else the document. */
  function resourceOf(pointer: string): string {
    const { pointers } = named();
    if (pointers.size === 0) return "";
    for (let end = pointer.length; end > 0; end = pointer.lastIndexOf("/", end - 1)) {
      if (pointers.has(pointer.slice(0, end))) return pointer.slice(0, end);
    }
    return "";
  }

  function walk(ref: string, pointer: string): Place {
    let here: Place = { value: document, pointer: "", shared: true };
    for (const step of stepsOf(pointer)) {
      const next = at(here, step);
      // `#/paths/~1a/get/parameters/0/schema`, where the parameter is a reference itself.
      here =
        next.value === undefined && refOf(here.value) !== undefined ? at(followed(here, ref), step) : next;
      if (here.value === undefined) throw new BrokenReference(`${shown(ref)} is not in the document`);
    }
    return { ...here, shared: true };
  }

  /** Of a node on the way, one reference is followed: more of them could be a circle. */
  function followed(place: Place, ref: string): Place {
    const target = refOf(place.value) ?? "";
    if (!target.startsWith("#/") || target === ref)
      throw new BrokenReference(`${shown(ref)} is not in the document`);
    return stepsOf(target.slice(1)).reduce<Place>(at, { value: document, pointer: "", shared: true });
  }

  return { follow, find };
}

function memberAt(document: JsonObject, pointer: string): JsonValue | undefined {
  return stepsOf(pointer).reduce<JsonValue | undefined>(memberOf, document);
}

function memberOf(value: JsonValue | undefined, step: string): JsonValue | undefined {
  if (Array.isArray(value)) return /^(?:0|[1-9]\d*)$/.test(step) ? value[Number(step)] : undefined;
  return isObject(value) && Object.hasOwn(value, step) ? value[step] : undefined;
}

/** The resource, and the fragment with its escapes of a URL undone. */
function split(ref: string): [string, string] {
  const hash = ref.indexOf("#");
  if (hash === -1) return [ref, ""];
  const fragment = ref.slice(hash + 1);
  try {
    return [ref.slice(0, hash), decodeURIComponent(fragment)];
  } catch {
    return [ref.slice(0, hash), fragment];
  }
}

/** Where schemas are that have a name of their own. */
interface Names {
  /** By `$id`. */
  readonly resources: ReadonlyMap<string, string>;
  readonly pointers: ReadonlySet<string>;
  /** By the pointer of the resource they are in, and `#name`. */
  readonly anchors: ReadonlyMap<string, string>;
}

function namesIn(document: JsonObject): Names {
  const resources = new Map<string, string>();
  const anchors = new Map<string, string>();
  const visit = (value: JsonValue, pointer: string, around: string) => {
    if (Array.isArray(value))
      return value.forEach((item, index) => visit(item, below(pointer, index), around));
    if (!isObject(value)) return;
    const { $id: id, $dynamicAnchor: dynamic, $anchor: anchor = dynamic } = value;
    const resource = typeof id === "string" && !id.startsWith("#") ? pointer : around;
    if (resource === pointer && typeof id === "string") resources.set(id, pointer);
    if (typeof anchor === "string") anchors.set(`${resource}#${anchor}`, pointer);
    for (const [name, member] of Object.entries(value)) visit(member, below(pointer, name), resource);
  };
  visit(document, "", "");
  const pointers = new Set(resources.values());
  if (typeof document["$self"] === "string") resources.set(document["$self"], "");
  return { resources, pointers, anchors };
}

function shown(ref: string): string {
  return `$ref ${JSON.stringify(ref.length > 200 ? `${ref.slice(0, 200)}…` : ref)}`;
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
