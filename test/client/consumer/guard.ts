import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createGuard, principalOf } from "patchbay/guard";

const [url = "", key = ""] = process.argv.slice(2);
const guard = createGuard({ baseUrl: url, apiKey: key });
const server = createServer(
  guard.handler({ scopes: ["audit:view"] }, (request, response, { name }) => {
    // @ts-expect-error: the principal is typed, so a field that it does not have is a mistake
    void principalOf(request).password;
    response.end(name);
  }),
).listen(0);
await once(server, "listening");
const guarded = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const admitted = await fetch(guarded, { headers: { authorization: `Bearer ${key}` } });
const refused = await fetch(guarded);
console.log(JSON.stringify({ name: await admitted.text(), refusal: await refused.json() }));
// The guard goes on listening for changes, and keeps nothing alive by it.
server.closeAllConnections();
server.close();
