import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { localRootKey } from "#src/crypto/root-key.ts";
import { openLogs } from "../../support/open-logs.ts";

/** A process that takes events in until it is killed: `PUT /<log>/<id>`, whose answer is the number. */
const [url = "", rootKeyText = "", orgId = ""] = process.argv.slice(2);
const { eventLog } = await openLogs({
  ...{ url, poolSize: 8, eventStorageMib: 1_000_000 },
  rootKey: localRootKey(rootKeyText),
  now: () => new Date(),
});
const server = createServer((request, response) => {
  const [, log = "", id = ""] = (request.url ?? "").split("/");
  const event = { id, source: "/storm", type: "test", extensions: {}, verified: "none" };
  // Some are long, which takes another way.
  const data = Buffer.alloc(id.startsWith("00") ? 300_000 : 200);
  eventLog.accept(orgId, [{ log, key: Buffer.from(id.replaceAll("-", ""), "hex"), ...event, data }]).then(
    ([accepted]) => response.end(String(accepted?.seq)),
    () => response.writeHead(503).end(),
  );
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
console.log((server.address() as AddressInfo).port);
