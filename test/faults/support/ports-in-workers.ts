import cluster from "node:cluster";
import { pino } from "pino";
import { createPort } from "#src/net/port.ts";

// Two workers on one port, of which each takes two connections. Prints where it is.
if (cluster.isPrimary) {
  let listening = 0;
  cluster.on("listening", (_worker, { port }) => {
    if (++listening === 2) console.log(port);
  });
  cluster.fork();
  cluster.fork();
} else {
  const port = createPort({
    handler: (_request, response) => void response.end("here"),
    limits: { connections: 2 },
    log: pino({ level: "silent" }),
  });
  await port.listen("127.0.0.1", 0);
}
