import { Worker, type WorkerOptions } from "node:worker_threads";

/**
 * Starts a thread that runs a file of ours, named by its path in `src/` without `.worker.ts`, such as
 * `operations/reader/read`. Its memory is bounded; over it, the thread ends with an error.
 */
export function startWorker(file: string, options: WorkerOptions & { readonly memoryMb: number }): Worker {
  const { memoryMb, ...rest } = options;
  return new Worker(urlOf(file), {
    ...rest,
    name: file,
    // Of the process, they are for its main thread, such as a port for a debugger.
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: memoryMb, ...rest.resourceLimits },
  });
}

/** In the published package, this code is in a file of `dist/service/`, which has the tree of the workers below it. */
function urlOf(file: string): URL {
  const isSource = import.meta.url.endsWith("/platform/worker.ts");
  return new URL(isSource ? `../${file}.worker.ts` : `./${file}.worker.js`, import.meta.url);
}
