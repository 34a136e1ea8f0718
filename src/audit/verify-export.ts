import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { KeyObject } from "node:crypto";
import { isObject } from "#src/json/object.ts";
import { isSigned, type Claim, type SignedHead } from "./anchor.ts";
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
  /** Up to which event a signature covers it; undefined if none was checked or there is none. */
  readonly signedUpTo: bigint | undefined;
  readonly signatures: number;
  readonly fault: Fault | undefined;
}

/** The file is no export, or not a whole one. */
export class NotAnExport extends Error {
  override readonly name = "NotAnExport";

  constructor(line: number, problem: string) {
    super(`line ${line}: ${problem}`);
  }
}

/**
 * Verifies an export from its lines alone. The chain shows what was changed, moved or left out; the end, whether the
 * file is whole; signatures, that the chain is the one of the service with this key. Without a key they are not
 * checked: the one in the file could be anybody's.
 */
export async function verifyExport(
  lines: AsyncIterable<string>,
  publicKey: KeyObject | undefined,
): Promise<ExportVerdict> {
  const check = new ExportCheck(publicKey);
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
  #orgId: string | undefined;
  #from = chainStart;
  #reached = chainStart;
  #isSignedStart = false;
  #isOver = false;
  #events = 0n;
  #signatures = 0;
  #signedUpTo: bigint | undefined;
  #fault: Fault | undefined;

  constructor(publicKey: KeyObject | undefined) {
    this.#publicKey = publicKey;
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
    else if (type === "anchor") await this.#compare("anchor", line, at);
    else if (type === "end") await this.#end(line, at);
    else throw at("its type is none of export, event, anchor, end");
  }

  verdict(cut: () => Error): ExportVerdict {
    if (!this.#isOver) throw cut();
    return {
      ...{ orgId: this.#orgId ?? "", events: this.#events, from: this.#from, head: this.#reached },
      ...{ isSignedStart: this.#isSignedStart, signedUpTo: this.#signedUpTo, signatures: this.#signatures },
      fault: this.#fault,
    };
  }

  async #begin(line: JsonObject, at: At): Promise<void> {
    const { version, orgId, from, start } = line;
    if (version !== 1) throw at("it is of another version than 1: verify it with a newer Patchbay");
    if (typeof orgId !== "string") throw at("orgId: there is none");
    this.#orgId = orgId;
    this.#from = headOf(from, at);
    this.#reached = this.#from;
    if (this.#from.seq === 0n && !this.#from.hash.equals(chainStart.hash)) {
      throw at("from: no record begins so");
    }
    if (start === undefined) return;
    await this.#compare("start", start, at);
    this.#isSignedStart = true;
  }

  #follow(event: StoredEvent): void {
    this.#events += 1n;
    if (this.#fault !== undefined) return;
    const found = followChain(this.#orgId ?? "", this.#reached, [event]);
    if ("problem" in found) this.#fault = found;
    else this.#reached = found;
  }

  /** Compares a signed head with the last event. Behind a fault, there is nothing to compare it with. */
  async #compare(claim: Claim, line: JsonValue, at: At): Promise<void> {
    const head = signedHeadOf(line, at);
    if (this.#fault !== undefined) return;
    const { seq } = head;
    if (head.orgId !== this.#orgId || seq !== this.#reached.seq || !head.hash.equals(this.#reached.hash)) {
      this.#fault = { seq, problem: "it differs from its anchor" };
    } else if (this.#publicKey !== undefined) {
      if (await isSigned(this.#publicKey, claim, head.orgId, head)) {
        this.#signedUpTo = seq;
        this.#signatures += 1;
      } else this.#fault = { seq, problem: "its anchor is not signed by this key" };
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
    } else if ("signature" in line) await this.#compare("anchor", line, at);
    else {
      const { seq, hash } = headOf(line, at);
      if (seq === this.#reached.seq && hash.equals(this.#reached.hash)) return;
      this.#fault ??= { seq, problem: "the end is of another event than the last" };
    }
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
  if (typeof orgId !== "string") throw at("an anchor is of no organisation");
  if (typeof time !== "string" || typeof keyId !== "string" || typeof signature !== "string") {
    throw at("an anchor has no time, key or signature");
  }
  return { orgId, seq, hash, at: new Date(time), keyId, signature: Buffer.from(signature, "base64") };
}

const eventMembers = "type,seq,at,action,target,apiKeyId,userId,requestId,details,previousHash,hash";

function isoText(time: Date): string | undefined {
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

function eventOf(line: JsonObject, orgId: string, at: At): StoredEvent {
  const text = (name: string) => {
    const value = line[name] ?? null;
    if (value === null || typeof value === "string") return value;
    throw at(`${name}: it is no text`);
  };
  const time = text("at");
  if (Object.keys(line).join() !== eventMembers) throw at("an event has other members than exports write");
  if (time !== null && isoText(new Date(time)) !== time) throw at("at: it is no time as exports write it");
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
