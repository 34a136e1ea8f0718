import cluster, { type Worker } from "node:cluster";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "#src/platform/log.ts";
import { answeredWithin } from "#src/ratelimit/answered-within.ts";
import type { RateLimiter } from "#src/ratelimit/limiter.ts";
import { createChannel, type Channel } from "./channel.ts";
import { followConnections } from "./handover.ts";
import type { Measurements } from "./measurements.ts";
import type { Address, Announcement, Assignment, FromPrimary, FromWorker, Spending } from "./messages.ts";
import { failuresAfter, mostFailedStarts, pauseBefore } from "./restarts.ts";
import { untilEnded } from "./until-ended.ts";

/** The workers of this machine. */
export interface Fleet {
  /** Starts all; resolves when they take connections, at the same address. Fails if one cannot. */
  start(): Promise<Address>;
  /** Has them say that they are ready, those that come later too; resolves when they have. */
  go(): Promise<void>;
  /** Fails when no worker serves any more and none can be started. */
  readonly broken: Promise<never>;
  /** Asks all what they have measured. */
  measure(): Promise<void>;
  /** How many take connections. */
  serving(): number;
  /** Has all finish their calls; resolves when they have ended. */
  stop(): Promise<void>;
}

interface Member extends Channel<FromPrimary> {
  readonly worker: Worker;
  readonly startedAt: number;
  readonly listening: PromiseWithResolvers<Address>;
  readonly ready: PromiseWithResolvers<void>;
  readonly ended: PromiseWithResolvers<void>;
  hasListened: boolean;
  /** It finishes its calls, and another has taken its place. */
  isLeaving: boolean;
  /** Why it ended, if somebody knows. */
  problem: string | undefined;
  /** Resolves when it has said that it hears; undefined as long as it is not asked. */
  checking: PromiseWithResolvers<void> | undefined;
  /** Resolves when it has said what it measured; undefined as long as it is not asked. */
  measuring: PromiseWithResolvers<void> | undefined;
}

/** A scrape waits no longer for a worker that does not answer; it is shown as it was. */
const measureMs = 1_000;
const checkEveryMs = 5_000;
/** A worker that hears nothing for so long does no work either. Far more than a loaded machine makes one wait. */
const hungMs = 20_000;

/** Keeps that many workers: one that ends or leaves is replaced. */
export function createFleet(parts: {
  size: number;
  /** Its port is a certain one: those who ask the system for one each get one of their own. */
  assignment: Omit<Assignment, "worker">;
  callLimiter: RateLimiter;
  measurements: Measurements;
  /** How long a worker may take to end. Beyond, it is killed. */
  stopMs: number;
  log: Log;
}): Fleet {
  const { size, callLimiter, measurements, stopMs, log } = parts;
  const members = new Set<Member>();
  const broken = Promise.withResolvers<never>();
  let phase: "starting" | "going" | "stopping" = "starting";
  const stopping = new AbortController();
  let failures = 0;

  // Not handed out by the system: that gives most connections to few processes.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  // Whoever does not wait for it stops anyway.
  broken.promise.catch(() => undefined);

  /** Starts one more; resolves when it takes connections. */
  async function launch(): Promise<Address> {
    let worker: Worker;
    try {
      worker = cluster.fork();
      // A process that has just ended cannot be told anything; that it ended is heard as well.
      worker.on("error", (error) => log.debug({ worker: worker.id, err: error }, "a worker did not hear"));
      if (worker.process.pid === undefined) throw (await once(worker.process, "error"))[0];
    } catch (error) {
      const problem = `the system starts no process: ${(error as Error).message}`;
      if (phase === "going") replace({ problem, hasListened: false, livedMs: 0 });
      throw new Error(problem, { cause: error });
    }
    return enlist(worker).listening.promise;
  }

  /** As `launch`, for one that nobody waits for: if it cannot start, there will be another. */
  function add(): void {
    launch().catch(() => undefined);
  }

  function enlist(worker: Worker): Member {
    const member: Member = {
      worker,
      startedAt: performance.now(),
      listening: Promise.withResolvers(),
      ready: Promise.withResolvers(),
      ended: Promise.withResolvers(),
      hasListened: false,
      isLeaving: false,
      problem: undefined,
      checking: undefined,
      measuring: undefined,
      ...createChannel((message: FromPrimary, sent) => worker.send(message, sent)),
    };
    members.add(member);
    worker.on("message", (message: FromWorker) => hear(member, message));
    const connections = followConnections(worker);
    void untilEnded(worker).then((how) => {
      left(member, how);
      connections.handOver(serving() > 0);
    });
    return member;
  }

  function hear(member: Member, message: FromWorker): void {
    switch (message.kind) {
      case "here":
        return void member.tell({
          kind: "assignment",
          assignment: { ...parts.assignment, worker: member.worker.id },
        });
      case "listening":
        return listens(member, message.address);
      case "ready":
        return member.ready.resolve();
      case "leaving":
        return leaves(member);
      case "hears":
        return member.checking?.resolve();
      case "failed":
        member.problem = message.problem;
        return;
      case "count":
        return void count(member, message.id, message.spent);
      case "announce":
        return announce(member, message.spent);
      case "measures":
        measurements.measured(member.worker.id, message.measures);
        member.measuring?.resolve();
        return;
    }
  }

  function listens(member: Member, address: Address): void {
    member.hasListened = true;
    member.listening.resolve(address);
    if (phase === "going") void member.tell({ kind: "go" });
    void watch(member);
  }

  /** Kills it once it hears nothing any more: nobody else would, and its callers would wait for ever. */
  async function watch(member: Member): Promise<void> {
    while (members.has(member)) {
      member.checking = Promise.withResolvers();
      void member.tell({ kind: "check" });
      try {
        await answeredWithin(hungMs, member.checking.promise);
      } catch {
        member.problem = `it heard nothing for ${hungMs / 1000} seconds and was killed`;
        member.worker.process.kill("SIGKILL");
        return;
      }
      await sleep(checkEveryMs, undefined, { ref: false });
    }
  }

  function leaves(member: Member): void {
    member.isLeaving = true;
    if (phase !== "going") return;
    log.info({ leaving: member.worker.id }, "a worker finishes its calls; another takes its place");
    add();
  }

  async function count(member: Member, id: number, spent: readonly Spending[]): Promise<void> {
    const budgets = await Promise.all(
      spent.map(({ name, rate, alreadyMade }) => callLimiter.spend(name, rate, alreadyMade)),
    );
    void member.tell({ kind: "counted", id, budgets });
  }

  function announce(from: Member, spent: readonly Announcement[]): void {
    for (const member of members) if (member !== from) member.mention({ kind: "announced", spent });
  }

  function left(member: Member, how: string): void {
    members.delete(member);
    measurements.ended(member.worker.id);
    member.ended.resolve();
    member.ready.resolve();
    member.checking?.resolve();
    member.measuring?.resolve();
    const { worker, hasListened, isLeaving, startedAt } = member;
    const problem = member.problem ?? `it ended with ${how}`;
    member.listening.reject(new Error(problem));
    if (phase !== "going" || isLeaving) return;
    replace({ ended: worker.id, problem, hasListened, livedMs: performance.now() - startedAt });
  }

  /** Starts another one, after a pause if those before ended early. */
  function replace(gone: { ended?: number; problem: string; hasListened: boolean; livedMs: number }): void {
    const { ended, problem, hasListened, livedMs } = gone;
    failures = failuresAfter(failures, { listened: hasListened, livedMs });
    const pauseMs = pauseBefore(failures);
    log.error(
      { ended, problem, hadStarted: hasListened, pauseMs },
      "a worker ended by itself; another takes its place",
    );
    if (!hasListened && failures >= mostFailedStarts && serving() === 0)
      return broken.reject(new Error(`no worker is left, and the last ${failures} ended early: ${problem}`));
    // Only a stop of the service ends the pause.
    sleep(pauseMs, undefined, stopping).then(add, () => undefined);
  }

  function serving(): number {
    let count = 0;
    for (const { worker, hasListened, isLeaving } of members)
      if (hasListened && !isLeaving && worker.isConnected()) count++;
    return count;
  }

  async function measure(member: Member): Promise<void> {
    member.measuring ??= Promise.withResolvers();
    member.mention({ kind: "measure" });
    await answeredWithin(measureMs, member.measuring.promise).catch(() => undefined);
    member.measuring = undefined;
  }

  async function end(member: Member): Promise<void> {
    const impatient = setTimeout(() => {
      log.warn({ worker: member.worker.id }, "a worker does not end and is killed");
      member.worker.process.kill("SIGKILL");
    }, stopMs);
    // One that is still on its way has nothing to finish.
    if (member.hasListened) void member.tell({ kind: "stop" });
    else member.worker.process.kill();
    await member.ended.promise;
    clearTimeout(impatient);
  }

  return {
    async start() {
      const all = await Promise.all(Array.from({ length: size }, launch));
      const [address] = all;
      if (address === undefined) throw new Error("there is no worker");
      return address;
    },
    async go() {
      phase = "going";
      // Some may have ended since they took connections, or be about to.
      for (let there = [...members].filter(({ isLeaving }) => !isLeaving).length; there < size; there++)
        add();
      await Promise.all(
        [...members].map(async (member) => {
          void member.tell({ kind: "go" });
          await member.ready.promise;
        }),
      );
    },
    async measure() {
      await Promise.all([...members].filter(({ hasListened }) => hasListened).map(measure));
    },
    broken: broken.promise,
    serving,
    async stop() {
      phase = "stopping";
      stopping.abort();
      await Promise.all([...members].map(end));
    },
  };
}
