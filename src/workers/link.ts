import type { LocalRateLimiter } from "#src/ratelimit/limiter.ts";
import type { AnnouncedLimiter, Together } from "#src/ratelimit/together.ts";
import { createBatch } from "./batches.ts";
import { createChannel, type Channel } from "./channel.ts";
import { createCountsOfPrimary } from "./counts-of-primary.ts";
import type { Announcement, Assignment, FromPrimary, FromWorker } from "./messages.ts";

/** The primary, as a worker knows it. */
export interface Link extends Pick<Channel<FromWorker>, "tell"> {
  readonly assignment: Promise<Assignment>;
  /** Resolves when the whole service has started. */
  readonly go: Promise<void>;
  /** Resolves when the service stops. */
  readonly stop: Promise<void>;
  readonly together: Together;
  /** Called whenever the primary wants to know what was measured. */
  onMeasure(measure: () => void): void;
  /** Nothing is heard from now on, so that the process can end. */
  close(): void;
}

/** Links this process to the primary that has started it. */
export function openLink(): Link {
  const channel = createChannel<FromWorker>((message, sent) =>
    // Without a channel the primary is gone, and Node ends this process.
    process.send === undefined ? sent() : process.send(message, undefined, undefined, sent),
  );
  const assignment = Promise.withResolvers<Assignment>();
  const go = Promise.withResolvers<void>();
  const stop = Promise.withResolvers<void>();
  const counts = createCountsOfPrimary((message) => void channel.tell(message));
  const announce = createBatch<Announcement>((spent) => channel.mention({ kind: "announce", spent }));
  const announced = new Map<AnnouncedLimiter, LocalRateLimiter>();
  let measure: (() => void) | undefined;

  function hear(message: FromPrimary): void {
    switch (message.kind) {
      case "assignment":
        return assignment.resolve(message.assignment);
      case "go":
        return go.resolve();
      case "stop":
        return stop.resolve();
      case "check":
        return void channel.tell({ kind: "hears" });
      case "counted":
        return counts.counted(message.id, message.budgets);
      case "announced":
        for (const { limiter, name, rate } of message.spent) void announced.get(limiter)?.spend(name, rate);
        return;
      case "measure":
        return measure?.();
    }
  }

  process.on("message", hear);
  void channel.tell({ kind: "here" });

  return {
    tell: (message) => channel.tell(message),
    assignment: assignment.promise,
    go: go.promise,
    stop: stop.promise,
    together: {
      openCounts: (lost) => counts.open(lost),
      announced(limiter, local) {
        announced.set(limiter, local);
        return {
          look: (name, rate) => local.look(name, rate),
          async spend(name, rate, alreadyMade) {
            const budget = await local.spend(name, rate, alreadyMade);
            if (budget.allowed) announce({ limiter, name, rate });
            return budget;
          },
        };
      },
    },
    onMeasure: (measured) => (measure = measured),
    close() {
      // Else the primary is gone, and Node has closed it.
      if (process.connected) process.disconnect();
    },
  };
}
