import { create, toJson, type DescField } from "@bufbuild/protobuf";
import { TimestampSchema, type Timestamp } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { services } from "#src/client/services.ts";
import { makeStorable } from "#src/pipeline/storable.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
/** A key whose end is changed over and over. */
let id: string;
beforeAll(async () => {
  service = await startService();
  const { apiKey } = await service.org.client.apiKeys.createApiKey({ name: "k", scopes: ["a:view"] });
  id = apiKey!.id;
});
afterAll(() => service[Symbol.asyncDispose]());

const wanted = { name: "k", scopes: ["a:view"] };
const imported = () => ({ ...wanted, environment: "sandbox", sha256: randomBytes(32).toString("hex") });

/** The id of a key that was given this end over REST or Connect, where it is a text. */
async function ended(method: string, path: string, body: object) {
  const reply = await service.org.rest(method, path, body);
  expect([reply.status, reply.body]).toStrictEqual([expect.toBeOneOf([200, 201]), expect.anything()]);
  return (reply.body.data ?? reply.body).apiKey.id as string;
}

const rpc = "/patchbay.apikeys.v1.ApiKeyService";
type Time = Pick<Timestamp, "seconds" | "nanos">;

/** All ways in which a time is said. */
const ways: Record<string, (expiresAt: Time, text: string) => Promise<string>> = {
  "create, REST": (_, expiresAt) => ended("POST", "/api/api-keys", { ...wanted, expiresAt }),
  "create, Connect": (_, expiresAt) => ended("POST", `${rpc}/CreateApiKey`, { ...wanted, expiresAt }),
  "create, gRPC": async (expiresAt) =>
    (await service.org.client.apiKeys.createApiKey({ ...wanted, expiresAt })).apiKey!.id,
  "import, REST": (_, expiresAt) => ended("POST", "/api/api-keys/import", { ...imported(), expiresAt }),
  "import, gRPC": async (expiresAt) => {
    const { sha256, ...rest } = imported();
    const presented = { case: "sha256", value: sha256 } as const;
    return (await service.org.client.apiKeys.importKey({ ...rest, presented, expiresAt })).apiKey!.id;
  },
  "update, PATCH": (_, expiresAt) => ended("PATCH", `/api/api-keys/${id}`, { expiresAt }),
  "update, gRPC": async (expiresAt) =>
    (await service.org.client.apiKeys.updateApiKey({ id, expiresAt })).apiKey!.id,
};

const lastSecond = Date.parse("9999-12-31T23:59:59Z") / 1000;
const lastNano = 999_999_999;
const nanos = fc.oneof(
  fc.integer({ min: 0, max: lastNano }),
  fc.constantFrom(0, 499_999, 500_000, 999_999, lastNano),
);
const times = fc.record({ seconds: fc.bigInt(4_102_444_800n, BigInt(lastSecond)), nanos });

test("a time is stored as it was said, cut to the millisecond, whichever way it was said", async () => {
  await fc.assert(
    fc.asyncProperty(times, fc.constantFrom(...Object.keys(ways)), async (said, way) => {
      const time = create(TimestampSchema, said);
      const key = await ways[way]!(time, toJson(TimestampSchema, time));
      const { apiKey } = await service.org.client.apiKeys.getApiKey({ id: key });
      expect(apiKey!.expiresAt).toMatchObject({ ...said, nanos: said.nanos - (said.nanos % 1_000_000) });
    }),
    {
      numRuns: 70,
      examples: Object.keys(ways).map((way) => [{ seconds: BigInt(lastSecond), nanos: 999_999_900 }, way]),
    },
  );
});

const inputs = Object.values(services).flatMap(({ methods }) => methods.map(({ input }) => input));
const isTime = ({ fieldKind, message }: DescField) =>
  fieldKind === "message" && message.typeName === TimestampSchema.typeName;
const timeFields = inputs
  .flatMap((input) => input.fields.filter(isTime))
  .map((field) => [String(field), field] as const);

test.each(timeFields)("%s is cut, and never rounded up", (_, field) => {
  const any = fc.record({ seconds: fc.bigInt(-62_135_596_800n, BigInt(lastSecond)), nanos });
  fc.assert(
    fc.property(any, (said) => {
      const time = create(TimestampSchema, said);
      const { localName, oneof } = field;
      const value = oneof ? { [oneof.localName]: { case: localName, value: time } } : { [localName]: time };
      makeStorable(field.parent, create(field.parent, value));
      expect(time.seconds).toBe(said.seconds);
      expect([time.nanos % 1_000_000, Math.floor(said.nanos / 1_000_000)]).toStrictEqual([
        0,
        time.nanos / 1_000_000,
      ]);
    }),
  );
});

describe("a time that there is not is refused by the field's name", () => {
  const outside = fc.oneof(
    fc.record({ seconds: fc.bigInt(BigInt(lastSecond) + 1n, 2n ** 63n - 1n), nanos }),
    fc.record({ seconds: fc.bigInt(-(2n ** 63n), -62_135_596_801n), nanos }),
    fc.record({
      seconds: fc.constant(4_102_444_800n),
      nanos: fc.oneof(
        fc.integer({ min: -(2 ** 31), max: -1 }),
        fc.integer({ min: 1_000_000_000, max: 2 ** 31 - 1 }),
      ),
    }),
  );

  test("of all that a binary message can hold", async () => {
    await fc.assert(
      fc.asyncProperty(outside, async (expiresAt) => {
        const { apiKeys } = service.org.client;
        const refusal = {
          code: Code.InvalidArgument,
          rawMessage: expect.stringMatching(/^expiresAt: /) as string,
        };
        await expect(apiKeys.createApiKey({ ...wanted, expiresAt })).rejects.toMatchObject(refusal);
        await expect(apiKeys.updateApiKey({ id, expiresAt })).rejects.toMatchObject(refusal);
      }),
      { numRuns: 30 },
    );
  });

  test.each([
    "2100-02-29T00:00:00Z",
    "2099-02-30T00:00:00Z",
    "2099-04-31T12:00:00+02:00",
    "2099-01-32T00:00:00Z",
    "2099-01-01T24:00:00Z",
    "2099-01-01T23:59:60Z",
    "2099-01-01T00:00:00.1234567891Z",
    "10000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-01:00",
    "0000-12-31T23:59:59Z",
    "2099-01-01",
  ])("%s in JSON", async (expiresAt) => {
    const bodies = [
      ["POST", "/api/api-keys", wanted],
      ["POST", "/api/api-keys/import", imported()],
      ["PATCH", `/api/api-keys/${id}`, {}],
      ["POST", `${rpc}/CreateApiKey`, wanted],
      ["POST", `${rpc}/UpdateApiKey`, { id }],
    ] as const;
    for (const [method, path, body] of bodies) {
      const reply = await service.org.rest(method, path, { ...body, expiresAt });
      expect([reply.status, JSON.stringify(reply.body)]).toStrictEqual([
        400,
        expect.stringContaining("expiresAt"),
      ]);
    }
  });

  test("and every day that there is is taken", async () => {
    const days = fc.integer({ min: Date.parse("2099-01-01") / 86_400_000, max: 2_932_896 });
    await fc.assert(
      fc.asyncProperty(days, async (day) => {
        const expiresAt = new Date(day * 86_400_000).toISOString();
        const reply = await service.org.rest("PATCH", `/api/api-keys/${id}`, { expiresAt });
        expect(Date.parse(reply.body.data.apiKey.expiresAt as string)).toBe(day * 86_400_000);
      }),
      { numRuns: 30, examples: [[Date.parse("2104-02-29") / 86_400_000], [2_932_896]] },
    );
  });
});
