import { createClient, ConnectError, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConnectionService } from "#gen/patchbay/connections/v1/connection_service_pb.js";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

/** Whose answer it is, and after how many tries. */
type Said = [string | null, string | null];

const said = (headers: Headers): Said => [
  headers.get("x-patchbay-source"),
  headers.get("x-patchbay-attempts"),
];

describe.each(["on", "off"] as const)(
  "with the unary lane %s, headers say whose an answer is:",
  (unaryLane) => {
    let service: TestService;
    let upstream: Upstream;
    beforeAll(async () => {
      service = await startService({ unaryLane });
      upstream = await startUpstream();
      upstream.answer(({ url }) => ({ status: Number(url.slice(1)) }));
      const connect = (serviceSlug: string, baseUrl: string) =>
        service.org.client.connections.upsertServiceConnection({ serviceSlug, baseUrl, apiKey: "k" });
      await connect("custom:bank", upstream.url);
      await connect("custom:gone", "http://127.0.0.1:1");
    });
    afterAll(async () => {
      await upstream[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
    });

    async function overRest(name: string, path: string): Promise<Said> {
      const { headers } = await service.org.rest("POST", "/api/service-calls", {
        service: name,
        method: "GET",
        path,
      });
      return said(headers);
    }

    function over(transport: (baseUrl: string) => Transport) {
      return async (name: string, path: string): Promise<Said> => {
        const client = createClient(ConnectionService, transport(service.url));
        const headers = { authorization: `Bearer ${service.org.secret}` };
        let answered: Said | undefined;
        const onHeader = (got: Headers) => void (answered = said(got));
        try {
          await client.callService({ service: name, method: "GET", path }, { headers, onHeader });
        } catch (error) {
          return said(ConnectError.from(error).metadata);
        }
        return answered!;
      };
    }

    const protocols: [string, (name: string, path: string) => Promise<Said>][] = [
      ["REST", overRest],
      ["Connect", over((baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }))],
      ["gRPC", over((baseUrl) => createGrpcTransport({ baseUrl }))],
      ["gRPC-Web", over((baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }))],
    ];

    test.each(protocols)("the service's, of any status, over %s", async (_, ask) => {
      expect(await ask("custom:bank", "/200")).toStrictEqual(["upstream", "1"]);
      expect(await ask("custom:bank", "/401")).toStrictEqual(["upstream", "1"]);
      expect(await ask("custom:bank", "/503")).toStrictEqual(["upstream", "3"]);
    });

    test.each(protocols)("ours where the service could not be reached, over %s", async (_, ask) => {
      expect(await ask("custom:gone", "/200")).toStrictEqual(["patchbay", "3"]);
    });

    test.each(protocols)("nobody's where no call was made, over %s", async (_, ask) => {
      expect(await ask("custom:nobody", "/200")).toStrictEqual([null, null]);
    });

    test("the answer itself says how many tries there were if there was more than one", async () => {
      const { callService } = service.org.client.connections;
      const call = { service: "custom:bank", method: "GET" };
      expect((await callService({ ...call, path: "/200" })).attempts).toBeUndefined();
      expect(await callService({ ...call, path: "/503" })).toMatchObject({ status: 503, attempts: 3 });
    });
  },
);
