import type { ServiceImpl } from "@connectrpc/connect";
import type { DescService } from "@bufbuild/protobuf";
import { EventEmitter, on } from "node:events";
import { type Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { ServiceError } from "#src/platform/errors.ts";

/** Whether the service takes calls: what load balancers ask, over gRPC and HTTP alike. */
export interface Readiness {
  readonly ready: boolean;
  /** Why it takes none; undefined if it does. */
  readonly problem: string | undefined;
  /** Ready at the end of the start, and not any more from the stop on, which is for good. */
  set(ready: boolean): void;
  /** Without its database it is not ready either, and is again when that is back. */
  setDatabaseAnswers(answers: boolean): void;
  /** Yields the state now and each time it changes, up to the stop. */
  watch(signal: AbortSignal): AsyncIterable<boolean>;
}

export function createReadiness(): Readiness {
  const changes = new EventEmitter().setMaxListeners(0);
  let hasStarted = false;
  let isStopping = false;
  let databaseAnswers = true;
  const isReady = () => problemNow() === undefined;

  function problemNow(): string | undefined {
    if (isStopping) return "it is stopping";
    if (!hasStarted) return "it is starting";
    return databaseAnswers ? undefined : "its database does not answer";
  }

  return {
    get ready() {
      return isReady();
    },
    get problem() {
      return problemNow();
    },
    set(next) {
      isStopping ||= !next;
      hasStarted ||= next;
      changes.emit("change");
    },
    setDatabaseAnswers(next) {
      if (databaseAnswers === next) return;
      databaseAnswers = next;
      changes.emit("change");
    },
    async *watch(signal) {
      const later = on(changes, "change", { signal });
      let shown = isReady();
      yield shown;
      // Once it has shown the stop it ends: a watcher that stayed would hold that up.
      while (shown || !isStopping) {
        await later.next();
        shown = isReady();
        yield shown;
      }
    },
  };
}

/** The name is that of no service here. */
class UnknownService extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message = "no such service; ask with an empty name for the whole server";
}

/** `grpc.health.v1`, for the whole server (the empty name) and for each of its services. */
export function createHealthService(
  readiness: Readiness,
  services: readonly DescService[],
): ServiceImpl<typeof Health> {
  const known = new Set(["", ...services.map(({ typeName }) => typeName)]);
  const now = () => ({ status: statusOf(readiness.ready) });
  return {
    check({ service }) {
      if (!known.has(service)) throw new UnknownService();
      return now();
    },
    list() {
      return { statuses: Object.fromEntries([...known].map((name) => [name, now()])) };
    },
    async *watch({ service }, context) {
      for await (const ready of readiness.watch(context.signal)) {
        // A watcher of an unknown service gets that answer and is kept: it may be deployed later (the protocol's rule).
        yield { status: known.has(service) ? statusOf(ready) : Status.SERVICE_UNKNOWN };
      }
    },
  };
}

function statusOf(ready: boolean): Status {
  return ready ? Status.SERVING : Status.NOT_SERVING;
}
