import { Agent, request as httpRequest } from "node:http";
import { httpAsker, type Ask } from "./askers.ts";
import { printFigures } from "./figures.ts";
import type { Options } from "./options.ts";
import { connectUpstream, startBenchPostgres, upstreamSlug } from "./patchbay.ts";
import { chosen, measure, type Cell } from "./rounds.ts";
import { startServer, type Server } from "./server.ts";

const small = {
  request: "a request in JSON, of a hundred bytes or so",
  and: "what the service is to do with it",
};

/**
 * What it costs to pass a request on while both bodies stream, beside a proxy that hands on and looks at nothing. Of a
 * large body, the latency is the time of the whole.
 */
export async function run(options: Options): Promise<void> {
  await using postgres = await startBenchPostgres();
  const { apiKey, start } = await postgres.found("proxy");
  await using servers = new AsyncDisposableStack();
  const upstream = servers.use(await startServer("upstream"));
  const bare = servers.use(await startServer("bare-proxy", [String(upstream.port)]));
  const patchbay = servers.use(await start());
  await connectUpstream(patchbay, apiKey, upstream);
  const { mebibytes } = options;
  const cells = [
    ...cellsOf("bare proxy", bare, "", apiKey, mebibytes),
    ...cellsOf("Patchbay", patchbay, `/api/connections/${upstreamSlug}/proxy`, apiKey, mebibytes),
  ];
  const measured = chosen(cells, options.only);
  // What the first calls load is no growth.
  await measure(measured, { rounds: 1, visitMs: options.visitMs });
  const before = await Promise.all([bare.peakMemory(), patchbay.peakMemory()]);
  printFigures(await measure(measured, options));
  const after = await Promise.all([bare.peakMemory(), patchbay.peakMemory()]);
  const [ofBare, ofPatchbay] = after.map((bytes, i) => Math.round((bytes - (before[i] ?? 0)) / 1024 / 1024));
  console.log(`Most memory grew meanwhile: bare proxy by ${ofBare} MiB, Patchbay by ${ofPatchbay} MiB`);
}

function cellsOf(name: string, server: Server, base: string, apiKey: string, mebibytes: number): Cell[] {
  const { port } = server;
  const asks: [string, Ask, number][] = [
    ["GET of 200 B", httpAsker(port, `${base}/small`, apiKey), 16],
    ["POST of 100 B", httpAsker(port, `${base}/small`, apiKey, small), 16],
    [`GET of ${mebibytes} MiB`, httpAsker(port, `${base}/stream/${mebibytes}`, apiKey), 1],
    [`PUT of ${mebibytes} MiB`, uploader(port, `${base}/upload`, apiKey, mebibytes), 1],
  ];
  return asks.map(([what, ask, callers]) => ({
    name: `${name}, ${what}`,
    server,
    ask,
    callers,
    beside: name === "bare proxy" ? [] : [`bare proxy, ${what}`],
  }));
}

const piece = Buffer.alloc(64 * 1024, "x");

/** Sends this many mebibytes, as fast as they are taken. */
function uploader(port: number, path: string, apiKey: string, mebibytes: number): Ask {
  const agent = new Agent({ keepAlive: true });
  const length = mebibytes * 1024 * 1024;
  const headers = { authorization: `Bearer ${apiKey}`, "content-length": length };
  return () =>
    new Promise((resolve, reject) => {
      const target = { host: "127.0.0.1", port, method: "PUT", path, agent, headers };
      const request = httpRequest(target, (response) => {
        if (response.statusCode !== 200) reject(new Error(`${path} answered ${response.statusCode}`));
        response.resume().once("end", resolve).on("error", reject);
      });
      let sent = 0;
      const more = (): void => {
        while (sent < length) {
          sent += piece.length;
          if (!request.write(piece)) return;
        }
        request.end();
      };
      request.on("error", reject).on("drain", more);
      more();
    });
}
