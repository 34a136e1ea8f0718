import { describe, expect, test } from "vitest";
import { verifySignature } from "#src/channels/signatures/verify.ts";
import { schemeOf, signatureSchemeOf, signedBy } from "../support/signer.ts";
import { isTakenBy, type Vendor, vendors } from "./vendors.ts";

const now = new Date();
const times = {
  now: now,
  "ten minutes ago": new Date(now.getTime() - 600_000),
  "in ten minutes": new Date(now.getTime() + 600_000),
};
const texts = {
  JSON: '{"id":"evt_1","amount":10.0}',
  "JSON with blanks": '{ "a" : 1 }\n',
  "more than ASCII": '{"é":"ü","smile":"😀"}',
};
const bodies: Record<string, Buffer> = {
  ...Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)])),
  nothing: Buffer.alloc(0),
  "bytes that are no UTF-8": Buffer.from([0xff, 0xfe, 0x7b, 0x00, 0x80]),
};

function secretsOf(vendor: Vendor) {
  const [right, other] = [vendor.secret(7), vendor.secret(9)];
  return { "its secret": [right], "its secret of two": [other, right], "another secret": [other] };
}

const isTimed = ({ preset }: Vendor) => signatureSchemeOf(preset).time !== undefined;
const asBytes = (secrets: readonly string[]) => secrets.map((secret) => Buffer.from(secret));

describe("what a vendor's package signed is known if and only if it is as it was, of now, and by our secret", () => {
  const cases = vendors
    .flatMap((vendor) =>
      Object.entries(texts).flatMap(([what, text]) =>
        Object.entries(isTimed(vendor) ? times : { now }).flatMap(([when, at]) =>
          Object.entries(secretsOf(vendor)).flatMap(([by, secrets]) =>
            ["as it was", "with a blank more"].map((change) => ({
              vendor,
              what,
              text,
              when,
              at,
              by,
              secrets,
              change,
            })),
          ),
        ),
      ),
    )
    .filter(({ vendor }) => vendor.sign !== undefined);

  test.each(cases)("$vendor.name: $what $change, signed $when, for $by", async (one) => {
    const { vendor, text, at, secrets, change } = one;
    const secret = vendor.secret(7);
    const headers = (await vendor.sign?.(text, at, secret)) ?? [];
    const body = Buffer.from(change === "as it was" ? text : `${text} `);
    const request = { method: "POST", url: "https://hooks.example.com/in/chn_1", headers, body };

    const isSame = change === "as it was" && secrets.includes(secret);
    const verdict = await verifySignature(schemeOf(vendor.preset), request, asBytes(secrets), now);
    expect(verdict.verified).toBe(isSame && at === now);
    // Where it differs, it takes what was signed for later.
    const takesLater = vendor.takesTheFuture === true && at.getTime() > now.getTime();
    expect(await isTakenBy(vendor, request, secrets)).toBe(isSame && (at === now || takesLater));
  });
});

describe("what our schemes sign is taken by the vendor's package, or refused where it can only read text", () => {
  const cases = vendors.flatMap((vendor) =>
    Object.entries(bodies).flatMap(([what, body]) =>
      Object.entries(isTimed(vendor) ? times : { now }).map(([when, at]) => ({
        vendor,
        what,
        body,
        when,
        at,
      })),
    ),
  );

  test.each(cases)("$vendor.name: $what, signed $when", async ({ vendor, what, body, at }) => {
    const secret = vendor.secret(7);
    const scheme = signatureSchemeOf(vendor.preset);
    const request = signedBy(scheme, { body, key: vendor.key(secret), at });

    const verdict = await verifySignature(scheme, request, asBytes([secret]), now);
    expect(verdict.verified).toBe(at === now);
    const cannotRead = what.startsWith("bytes") || (what === "nothing" && vendor.refusesNothing === true);
    const takesLater = vendor.takesTheFuture === true && at.getTime() > now.getTime();
    expect(await isTakenBy(vendor, request, [secret])).toBe(!cannotRead && (at === now || takesLater));
  });
});
