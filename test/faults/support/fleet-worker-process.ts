import { openLink } from "#src/workers/link.ts";

// A worker that takes no connections, but says so.
const link = openLink();
await link.assignment;
await link.tell({ kind: "listening", address: { host: "127.0.0.1", port: 1 } });
await link.stop;
link.close();
