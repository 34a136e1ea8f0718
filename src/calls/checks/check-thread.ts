import type { Worker } from "node:worker_threads";
import { LRUCache } from "lru-cache";
import type { OperationContract } from "#src/operations/operation.ts";
import { fairTurns } from "#src/platform/fair-turns.ts";
import type { Log } from "#src/platform/log.ts";
import { startWorker } from "#src/platform/worker.ts";
import type { Answered, Asked, Question } from "./question.ts";

/** A thread that checks, one question at a time, so that a schema which takes long holds up no call. */
export interface CheckThread {
  /**
   * Undefined if it took too long. Throws `WaitedTooLong` if its turn did not come in time; turns go round by
   * organisation.
   */
  ask(orgId: string, contract: OperationContract, question: Question): Promise<Answered>;
  close(): Promise<void>;
}

/** What is compiled takes some twenty times the memory of its text. */
const maxCompiled = 500;
const maxCompiledBytes = 4 * 1024 * 1024;
const memoryMb = 128;
const patienceMs = 3_000;
/** Beyond the limit that the thread sets itself: then something is wrong with it. */
const stuckMs = 30_000;
const idleMs = 60_000;

const startThread = () => startWorker("calls/checks/check", { memoryMb });

/** Starts the thread with the first question, and ends it when there was none for a minute. */
export function createCheckThread(log: Log, startNew: () => Worker = startThread): CheckThread {
  const turns = fairTurns();
  const ids = new WeakMap<OperationContract, number>();
  let lastId = 0;
  let forgotten: number[] = [];
  let worker: Worker | undefined;
  let answered: (answer: Answered | "ended") => void = () => undefined;
  const sent = new LRUCache<number, true>({
    max: maxCompiled,
    maxSize: maxCompiledBytes,
    dispose: (_, id) => void forgotten.push(id),
  });

  function start(): Worker {
    const started = startNew();
    // Of a service that has closed its port, no question is left.
    started.unref();
    started.on("message", (answer: Answered) => answered(answer));
    // Such as that it has no memory left, by a schema that takes too much.
    started.on("error", (err) =>
      log.warn({ err }, "the thread that checks inputs has ended; it is started anew"),
    );
    started.on("exit", () => {
      if (worker === started) worker = undefined;
      sent.clear();
      forgotten = [];
      answered("ended");
    });
    return started;
  }

  const end = () => worker?.terminate();
  const idle = setTimeout(() => void end(), idleMs).unref();

  function message(contract: OperationContract, question: Question): Asked {
    const id = ids.get(contract) ?? ++lastId;
    ids.set(contract, id);
    const isKnown = sent.get(id) === true;
    if (!isKnown) sent.set(id, true, { size: textBytes(contract) });
    const asked = { question, id, ...(!isKnown && { contract }), forgotten };
    forgotten = [];
    return asked;
  }

  async function exchange(contract: OperationContract, question: Question): Promise<Answered | "ended"> {
    const { promise, resolve } = Promise.withResolvers<Answered | "ended">();
    answered = resolve;
    try {
      worker ??= start();
    } catch (err) {
      // Such as that the process may have no more threads. Calls go on without.
      log.warn({ err }, "the thread that checks inputs cannot be started");
      return "ended";
    }
    worker.postMessage(message(contract, question));
    const stuck = setTimeout(() => {
      resolve(undefined);
      void end();
    }, stuckMs);
    const answer = await promise;
    clearTimeout(stuck);
    // The thread has let it go.
    if (answer === undefined) sent.delete(ids.get(contract) ?? 0);
    idle.refresh();
    return answer;
  }

  /** A thread that ends may do so for want of work, or of the memory that others took: then a new one is asked. */
  async function answerTo(contract: OperationContract, question: Question): Promise<Answered> {
    const answer = await exchange(contract, question);
    if (answer !== "ended") return answer;
    const again = await exchange(contract, question);
    return again === "ended" ? undefined : again;
  }

  return {
    ask: (orgId, contract, question) => turns(orgId, () => answerTo(contract, question), { patienceMs }),
    async close() {
      clearTimeout(idle);
      await end();
    },
  };
}

function textBytes(contract: OperationContract): number {
  const { parameters, inputSchema = "", outputSchema = "", definitions } = contract;
  const texts = [JSON.stringify(parameters), inputSchema, outputSchema, ...definitions.values()];
  // One that is larger would not be remembered, and so never be forgotten.
  return Math.min(
    texts.reduce((sum, text) => sum + text.length, 1_024),
    maxCompiledBytes,
  );
}
