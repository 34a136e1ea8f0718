import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { listenError } from "#src/net/listen-error.ts";
import { answerFailure } from "#src/net/response.ts";
import type { Log } from "#src/platform/log.ts";
import type { Metrics } from "./metrics.ts";

/** The port that metrics are read from: one of its own, so that callers of the service need not see them. */
export interface MetricsPort {
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  close(): void;
}

/** Creates the port, still closed. */
export function createMetricsPort(metrics: Pick<Metrics, "watchProcess" | "render">, log: Log): MetricsPort {
  const server = createServer((request, response) => {
    if (request.method !== "GET" || request.url !== "/metrics") {
      return answerFailure(response, {
        status: 404,
        reason: "UNKNOWN_PATH",
        message: "there is only GET /metrics",
      });
    }
    metrics.render().then(
      ({ type, text }) => response.setHeader("content-type", type).end(text),
      (error: unknown) => {
        log.error({ err: error }, "the metrics could not be read");
        answerFailure(response, { status: 500, reason: "INTERNAL", message: "internal error" });
      },
    );
  });
  // It is for a few scrapers, and must not take the sockets that the service needs.
  server.maxConnections = 32;

  return {
    listen(host, port) {
      metrics.watchProcess();
      return new Promise((resolve, reject) => {
        server.on("error", (error) => reject(listenError(error, host, port, "--metrics-port")));
        server.listen({ host, port }, () => {
          const address = server.address() as AddressInfo;
          resolve({ host: address.address, port: address.port });
        });
      });
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
