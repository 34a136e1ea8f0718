import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { KeyObject } from "node:crypto";
import { isObject } from "#src/json/object.ts";
import { exportBehind, isSigned, type Claim, type SignedHead } from "./anchor.ts";
import { NotAnExport } from "./errors.ts";
import { chainStart, followChain, type Fault, type Head, type StoredEvent } from "./verify-chain.ts";

/** What an export file shows by itself, and with the public key. */
export interface ExportVerdict {
  readonly orgId: string;
  readonly events: bigint;
  /** Behind which event it begins: 0 if that is the beginning of the record. */
  readonly from: Head;
  /** Whether the record itself began there, since older events were removed. */
  readonly isSignedStart: boolean;
  readonly head: Head;
  /** When it was exported, as its end says. */
  readonly at: Date | undefined;
  /** How many of them were checked, the one of its end among them. */
  readonly signatures: number;
  readonly fault: Fault | undefined;
}

/**
 * Verifies an export from its lines alone. The chain shows what was changed, moved or left out; the end, whether the
 * file is whole; signatures, that the service with this key exported these very events. Without a key they are not
 * checked. A known head that was kept elsewhere, such as of an anchor, must be of one of its events.
 */
export async function verifyExport(
  lines: AsyncIterable<string>,
  publicKey: KeyObject | undefined,
  known?: Head,
): Promise<ExportVerdict> {
  const check = new ExportCheck(publicKey, known);
  let number = 0;
  for await (const text of lines) {
    number += 1;
    const line = number;
    await check.take(text, (problem) => new NotAnExport(line, problem));
  }
  return check.verdict(() => new NotAnExport(number + 1, "the end is missing, so the file was cut"));
}

/** Goes through an export line by line. */
class ExportCheck {
  readonly #publicKey: KeyObject | undefined;
  readonly #known: Head | undefined;
  #orgId: string | undefined;
  #from = chainStart;
  #reached = chainStart;
  #isSignedStart = false;
  #isOver = false;
  #events = 0n;
  #signatures = 0;
  #at: Date | undefined;
  #fault: Fault | undefined;

  constructor(publicKey: KeyObject | undefined, known: Head | undefined) {
    this.#publicKey = publicKey;
    this.#known = known;
  }

  async take(text: string, at: At): Promise<void> {
    const line = lineOf(text, at);
    const { type } = line;
    if (this.#isOver) throw at("it stands behind the end of the export");
    if ((this.#orgId === undefined) !== (type === "export")) {
      throw at("an export begins with one line of the type export");
    }
    if (type === "export") await this.#begin(line, at);
    else if (type === "event") this.#follow(eventOf(line, this.#orgId ?? "", at));
    else if (type === "anchor") {
      hasMembers(line, `type,${signedMembers}`, at);
      await this.#compare("anchor", signedHeadOf(line, at));
    } else if (type === "end") await this.#end(line, at);
    else throw at("its type is none of export, event, anchor, end");
  }

  verdict(cut: () => Error): ExportVerdict {
    if (!this.#isOver) throw cut();
    return {
      ...{ orgId: this.#orgId ?? "", events: this.#events, from: this.#from, head: this.#reached },
      ...{ isSignedStart: this.#isSignedStart, at: this.#at, signatures: this.#signatures },
      fault: this.#fault,
    };
  }

  async #begin(line: JsonObject, at: At): Promise<void> {
    const { version, orgId, from, start } = line;
    if (version !== 1) throw at("it is of another version than 1: verify it with a newer Patchbay");
    hasMembers(line, `type,version,orgId,from${start === undefined ? "" : ",start"}`, at);
    if (typeof orgId !== "string") throw at("orgId: there is none");
    this.#orgId = orgId;
    hasMembers(from, "seq,hash", at);
    this.#from = headOf(from, at);
    this.#reach(this.#from);
    if (this.#from.seq === 0n && !this.#from.hash.equals(chainStart.hash)) {
      throw at("from: no record begins so");
    }
    if (start === undefined) return;
    hasMembers(start, signedMembers, at);
    await this.#compare("start", signedHeadOf(start, at));
    this.#isSignedStart = true;
  }

  #follow(event: StoredEvent): void {
    this.#events += 1n;
    if (this.#fault !== undefined) return;
    const found = followChain(this.#orgId ?? "", this.#reached, [event]);
    if ("problem" in found) this.#fault = found;
    else this.#reach(found);
  }

  #reach(head: Head): void {
    this.#reached = head;
    if (this.#known?.seq === head.seq && !this.#known.hash.equals(head.hash)) {
      this.#fault = { seq: head.seq, problem: "it differs from a known head" };
    }
  }

  /** The known head is of an event that is not in the file, so that nothing was compared with it. */
  #faultOfKnown({ seq }: Head): Fault | undefined {
    if (seq > this.#reached.seq) {
      const problem = `it is missing: the record went on to event ${seq} when the known head was kept`;
      return { seq: this.#reached.seq + 1n, problem };
    }
    const problem = "the file begins behind it, so that the known head could not be compared";
    return seq < this.#from.seq ? { seq, problem } : undefined;
  }

  /** Compares a signed head with the last event. Behind a fault, there is nothing to compare it with. */
  async #compare(claim: Claim, head: SignedHead & { readonly orgId: string }): Promise<void> {
    if (this.#fault !== undefined) return;
    const { seq } = head;
    const what = claim === "anchor" ? "its anchor" : claim === "start" ? "the start" : "the end";
    if (head.orgId !== this.#orgId || seq !== this.#reached.seq || !head.hash.equals(this.#reached.hash)) {
      this.#fault = { seq, problem: `${what} is of another event than the last before it` };
    } else if (this.#publicKey !== undefined) {
      if (await isSigned(this.#publicKey, claim, head.orgId, head)) this.#signatures += 1;
      else this.#fault = { seq, problem: `${what} is not signed by this key` };
    }
  }

  async #end(line: JsonObject, at: At): Promise<void> {
    this.#isOver = true;
    const { fault, events } = line;
    if (numberOf(events, at) !== this.#events) {
      this.#fault ??= {
        seq: this.#reached.seq + 1n,
        problem: "there are not as many events as the end says",
      };
    }
    if (isObject(fault)) {
      const problem = typeof fault["problem"] === "string" ? fault["problem"] : "";
      this.#fault ??= { seq: numberOf(fault["seq"], at), problem: `the service found: ${problem}` };
      return;
    }
    hasMembers(line, `type,events,${signedMembers}`, at);
    const head = signedHeadOf(line, at);
    await this.#compare(exportBehind(this.#from), head);
    this.#at = head.at;
    if (this.#known !== undefined) this.#fault ??= this.#faultOfKnown(this.#known);
  }
}

type At = (problem: string) => Error;

function lineOf(text: string, at: At): JsonObject {
  try {
    const value = JSON.parse(text) as JsonValue;
    // A name that stands twice, or blanks, would be read in different ways by different programs.
    if (isObject(value) && JSON.stringify(value) === text) return value;
  } catch {
    // Said below.
  }
  throw at(
    "it is no JSON object as exports have it: is this an export in NDJSON, unchanged? CSV cannot be verified",
  );
}

function headOf(value: JsonValue | undefined, at: At): Head {
  if (!isObject(value)) throw at("a head is missing");
  return { seq: numberOf(value["seq"], at), hash: hashOf(value["hash"], at) };
}

function signedHeadOf(value: JsonValue, at: At): SignedHead & { readonly orgId: string } {
  const { seq, hash } = headOf(value, at);
  const { orgId, at: time, keyId, signature } = isObject(value) ? value : {};
  if (typeof orgId !== "string") throw at("a signed head is of no organisation");
  if (typeof time !== "string" || isoText(new Date(time)) !== time) throw at(noTime);
  if (typeof keyId !== "string") throw at("a signed head has no key");
  if (typeof signature !== "string" || Buffer.from(signature, "base64").toString("base64") !== signature) {
    throw at("a signature is not in base64");
  }
  return { orgId, seq, hash, at: new Date(time), keyId, signature: Buffer.from(signature, "base64") };
}

/** What is not covered by a hash or a signature could say anything. */
function hasMembers(value: JsonValue | undefined, members: string, at: At): void {
  if (!isObject(value) || Object.keys(value).join() !== members) {
    throw at(`it has other members than an export writes, which are ${members.replaceAll(",", ", ")}`);
  }
}

const noTime = "at: it is no time as exports write it";
const signedMembers = "orgId,seq,hash,at,keyId,signature";
const eventMembers = "type,seq,at,action,target,apiKeyId,userId,requestId,details,previousHash,hash";

function isoText(time: Date): string | undefined {
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

function eventOf(line: JsonObject, orgId: string, at: At): StoredEvent {
  const text = (name: string) => {
    const value = line[name] ?? null;
    // Half of a surrogate pair has the bytes, and so the hash, of U+FFFD.
    if (value === null || (typeof value === "string" && value.isWellFormed())) return value;
    throw at(`${name}: it is no text`);
  };
  hasMembers(line, eventMembers, at);
  const time = text("at");
  if (time !== null && isoText(new Date(time)) !== time) throw at(noTime);
  return {
    ...{ orgId, seq: numberOf(line["seq"], at), at: time === null ? null : new Date(time) },
    ...{ action: text("action"), target: text("target"), apiKeyId: text("apiKeyId"), userId: text("userId") },
    ...{ requestId: text("requestId"), details: text("details") },
    previousHash: line["previousHash"] === null ? null : hashOf(line["previousHash"], at),
    hash: line["hash"] === null ? null : hashOf(line["hash"], at),
  };
}

function numberOf(value: JsonValue | undefined, at: At): bigint {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw at("a number is none");
  return BigInt(value);
}

function hashOf(value: JsonValue | undefined, at: At): Buffer {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value))
    throw at("a hash is not 64 hexadecimal digits");
  return Buffer.from(value, "hex");
}
