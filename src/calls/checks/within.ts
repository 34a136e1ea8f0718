import { createContext, Script } from "node:vm";

const place: { work?: (() => unknown) | undefined } = {};
const context = createContext(place);
const script = new Script("work()");

/** Does the work, and stops it in its midst when it has taken too long; undefined then. */
export function within<T>(timeoutMs: number, work: () => T): T | undefined {
  let done: T | undefined;
  place.work = () => void (done = work());
  try {
    script.runInContext(context, { timeout: timeoutMs });
    return done;
  } catch (error) {
    // An error of another context is no instance of this one's Error.
    if ((error as { code?: unknown }).code === "ERR_SCRIPT_EXECUTION_TIMEOUT") return undefined;
    throw error;
  } finally {
    place.work = undefined;
  }
}
