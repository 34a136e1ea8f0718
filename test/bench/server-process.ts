import { startServer } from "./server.ts";

// A bench that goes on until it is killed.
const server = await startServer("bare-http");
console.log(server.port);
