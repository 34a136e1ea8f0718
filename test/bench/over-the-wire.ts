import { grpcAsker, httpAsker, type Ask } from "./askers.ts";
import { printFigures } from "./figures.ts";
import type { Options } from "./options.ts";
import { connectUpstream, startBenchPostgres, upstreamSlug } from "./patchbay.ts";
import { chosen, measure, type Cell } from "./rounds.ts";
import { startServer, type Server } from "./server.ts";

const callers = 16;

/** What the upstream answers by path. A large answer keeps a server busy with few callers. */
const answers = [
  { size: "200 B JSON", path: "/small", callers },
  { size: "100 KB JSON", path: "/large", callers: 8 },
  { size: "5 MB bytes", path: "/bytes", callers: 2 },
] as const;

/**
 * What WhoAmI, VerifyKey and CallService cost the server over each protocol, beside servers that do nothing but
 * answer, and a proxy that does nothing but hand on.
 */
export async function run(options: Options): Promise<void> {
  await using postgres = await startBenchPostgres();
  const { apiKey, start } = await postgres.found("over_the_wire");
  await using servers = new AsyncDisposableStack();
  const upstream = servers.use(await startServer("upstream"));
  const bare = {
    http: servers.use(await startServer("bare-http")),
    grpc: servers.use(await startServer("grpc-js")),
    proxy: servers.use(await startServer("bare-proxy", [String(upstream.port)])),
  };
  const cells = bareCells(bare, apiKey);
  for (const { suffix, besideSuffix, environment } of options.variants) {
    const patchbay = servers.use(await start(environment));
    await connectUpstream(patchbay, apiKey, upstream);
    for (const { name, peers, ...rest } of patchbayCells(patchbay.port, apiKey)) {
      const beside = besideSuffix === undefined ? peers : [...peers, name + besideSuffix];
      cells.push({ name: name + suffix, server: patchbay, beside, ...rest });
    }
  }
  printFigures(await measure(chosen(cells, options.only), options));
}

interface Bare {
  readonly http: Server;
  readonly grpc: Server;
  readonly proxy: Server;
}

const bareHttp = "bare node:http";
const bareGrpc = "grpc-js server";
const bareProxy = (size: string) => `bare proxy, ${size}`;

const methods = {
  verifyKey: "/patchbay.verification.v1.VerificationService/VerifyKey",
  whoAmI: "/patchbay.apikeys.v1.ApiKeyService/WhoAmI",
  callService: "/patchbay.connections.v1.ConnectionService/CallService",
};

function bareCells({ http, grpc, proxy }: Bare, apiKey: string): Cell[] {
  const question = questionAbout(apiKey);
  return [
    {
      name: bareHttp,
      server: http,
      ask: httpAsker(http.port, methods.verifyKey, apiKey, question),
      callers,
      beside: [],
    },
    {
      name: bareGrpc,
      server: grpc,
      ask: grpcAsker(grpc.port, apiKey, (client) => client.verification.verifyKey(question)),
      callers,
      beside: [bareHttp],
    },
    ...answers.map((answer) => ({
      name: bareProxy(answer.size),
      server: proxy,
      ask: httpAsker(proxy.port, answer.path, apiKey),
      callers: answer.callers,
      beside: [],
    })),
  ];
}

/** A cell that every Patchbay has. */
interface PatchbayCell extends Pick<Cell, "name" | "ask" | "callers"> {
  /** The bare servers that it is compared with. */
  readonly peers: readonly string[];
}

function patchbayCells(port: number, apiKey: string): PatchbayCell[] {
  const question = questionAbout(apiKey);
  const http = (path: string, body?: object) => httpAsker(port, path, apiKey, body);
  const cell = (name: string, ask: Ask, peer: string) => ({ name, ask, callers, peers: [peer] });
  return [
    cell("liveness", http("/healthz"), bareHttp),
    cell("WhoAmI REST", http("/api/auth/me"), bareHttp),
    cell("WhoAmI Connect JSON", http(methods.whoAmI, {}), bareHttp),
    cell(
      "WhoAmI gRPC",
      grpcAsker(port, apiKey, ({ apiKeys }) => apiKeys.whoAmI({})),
      bareGrpc,
    ),
    cell("VerifyKey REST", http("/api/api-keys/verify", question), bareHttp),
    cell("VerifyKey Connect JSON", http(methods.verifyKey, question), bareHttp),
    cell(
      "VerifyKey gRPC",
      grpcAsker(port, apiKey, ({ verification }) => verification.verifyKey(question)),
      bareGrpc,
    ),
    ...answers.flatMap(({ size, path, callers: fewer }) => {
      const request = { service: upstreamSlug, method: "GET", path };
      const asks: [string, Ask][] = [
        ["REST", http("/api/service-calls", request)],
        ["Connect JSON", http(methods.callService, request)],
        ["gRPC", grpcAsker(port, apiKey, ({ connections }) => connections.callService(request))],
      ];
      return asks.map(([protocol, ask]) => ({
        name: `CallService ${protocol}, ${size}`,
        ask,
        callers: fewer,
        peers: [bareProxy(size)],
      }));
    }),
  ];
}

function questionAbout(apiKey: string) {
  return { key: apiKey, scopes: ["connections:view"] };
}
