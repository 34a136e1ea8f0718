import { pino } from "pino";
import { createPort } from "#src/net/port.ts";

// A port in a process of its own, for tests that could stop or busy the process that runs them.
const port = createPort({
  handler: (_request, response) => void response.end("here"),
  log: pino(pino.destination(2)),
});
const { port: number } = await port.listen("127.0.0.1", 0);
console.log(number);
