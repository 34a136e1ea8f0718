/** What counts while a task runs, and how many tasks may count there at once. */
export interface Place {
  readonly key: string;
  readonly most: number;
}

/** Whose a task is, and what it is about within that, such as an organisation and a host that it asks. */
export interface Places {
  readonly share: Place;
  readonly target: Place;
}

interface Target {
  running: number;
  /** Tasks that came to their turn when there was no room here. */
  readonly parked: Task[];
}

interface Share {
  readonly most: number;
  running: number;
  readonly waiting: Task[];
  readonly targets: Map<string, Target>;
}

interface Task {
  readonly places: Places;
  readonly start: () => void;
}

/**
 * Runs tasks, at most `total` at once, and at most `most` of one share and of one target; the others wait. The share of
 * which the fewest run is next, so that one with much to do, or with slow tasks, takes no more than its part.
 */
export function createKeyedLimit(total: number) {
  const shares = new Map<string, Share>();
  /** The shares that have a task to start, by how many of theirs run: to look at all of them would take too long. */
  const ready: (Set<Share> | undefined)[] = [];
  let running = 0;

  function shareOf({ share: { key, most } }: Places): Share {
    const share = shares.get(key) ?? { most, running: 0, waiting: [], targets: new Map<string, Target>() };
    shares.set(key, share);
    return share;
  }

  function targetIn(share: Share, { target: { key } }: Places): Target {
    const target = share.targets.get(key) ?? { running: 0, parked: [] };
    share.targets.set(key, target);
    return target;
  }

  /** Changes the share, and puts it where it belongs then. */
  function changed(share: Share, change: () => void): void {
    ready[share.running]?.delete(share);
    change();
    if (share.waiting.length === 0 || share.running >= share.most) return;
    (ready[share.running] ??= new Set()).add(share);
  }

  function nextShare(): Share | undefined {
    for (const some of ready) for (const share of some ?? []) return share;
    return undefined;
  }

  function startWhatMay(): void {
    while (running < total) {
      const share = nextShare();
      if (share === undefined) return;
      changed(share, () => {
        const task = share.waiting.shift();
        if (task === undefined) return;
        const target = targetIn(share, task.places);
        if (target.running >= task.places.target.most) {
          target.parked.push(task);
          return;
        }
        target.running++;
        share.running++;
        running++;
        task.start();
      });
    }
  }

  function end(places: Places): void {
    const share = shareOf(places);
    const target = targetIn(share, places);
    changed(share, () => {
      target.running--;
      share.running--;
      running--;
      const parked = target.parked.shift();
      if (parked !== undefined) share.waiting.unshift(parked);
    });
    if (target.running === 0 && target.parked.length === 0) share.targets.delete(places.target.key);
    if (share.running === 0 && share.waiting.length === 0) shares.delete(places.share.key);
    startWhatMay();
  }

  return async function run<T>(places: Places, task: () => Promise<T>): Promise<T> {
    await new Promise<void>((start) => {
      const share = shareOf(places);
      changed(share, () => void share.waiting.push({ places, start }));
      startWhatMay();
    });
    try {
      return await task();
    } finally {
      end(places);
    }
  };
}
