import { createTally } from "#src/platform/tally.ts";

/** How many deliveries may be under way. */
export interface PermitLimits {
  /** Of those that have not been under way for long. */
  readonly brisk: number;
  readonly all: number;
  readonly perHost: number;
  /** After this a delivery counts among all only. */
  readonly briskMs: number;
}

/** Lets deliveries begin, in the order in which they came; one to a full host holds up no other. */
export interface Permits {
  /** Resolves when the delivery may begin. Dispose of the permit when it has ended. */
  take(host: string): Promise<Disposable>;
}

/**
 * An endpoint that hangs must not hold up those that answer: a delivery gives its place among the brisk ones back after
 * a moment and goes on outside of them.
 */
export function createPermits({ brisk: mostBrisk, all: most, perHost, briskMs }: PermitLimits): Permits {
  const hosts = createTally();
  const waiting = new Set<{ readonly host: string; readonly start: (permit: Disposable) => void }>();
  let [brisk, all] = [0, 0];

  function beginWhatMay(): void {
    for (const one of waiting) {
      if (brisk >= mostBrisk || all >= most) return;
      if (hosts.of(one.host) >= perHost) continue;
      waiting.delete(one);
      one.start(begun(one.host));
    }
  }

  function begun(host: string): Disposable {
    let isBrisk = true;
    brisk++;
    all++;
    hosts.add(host, 1);
    const timer = setTimeout(giveBack, briskMs);
    function giveBack(): void {
      if (!isBrisk) return;
      isBrisk = false;
      brisk--;
      beginWhatMay();
    }
    return {
      [Symbol.dispose]() {
        clearTimeout(timer);
        all--;
        hosts.add(host, -1);
        if (isBrisk) giveBack();
        else beginWhatMay();
      },
    };
  }

  return {
    take: (host) =>
      new Promise((start) => {
        waiting.add({ host, start });
        beginWhatMay();
      }),
  };
}
