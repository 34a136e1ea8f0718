import fc from "fast-check";
import { expect, test } from "vitest";
import { expandBaseUrl } from "#src/integrations/templates.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { hostileValues } from "./hostile-values.ts";

/** Where a call goes with these values, which nothing has checked; undefined if they are refused. */
function placed(template: string, values: Record<string, string>): URL | undefined {
  try {
    return new URL(expandBaseUrl(template, values));
  } catch (error) {
    if (error instanceof InvalidRequest) return undefined;
    throw error;
  }
}

const piece = fc.oneof(
  fc.constantFrom(...hostileValues),
  fc.constantFrom("acme", "a-b", "a.b", "A1", "-", ".", "@", ":", "/", "\\", "%", "?", "#"),
  fc.string({ unit: "binary", maxLength: 4 }),
);
const text = fc.oneof(
  fc.constantFrom("acme", "a.b", "evil.example", "A1"),
  fc.array(piece, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("")),
);

test("no value leaves its place in the URL, even if no pattern has looked at it", () => {
  let accepted = 0;
  fc.assert(
    fc.property(text, text, (host, path) => {
      const url = placed("https://eu-{host}.shop.example:8443/api/{path}/v1", { host, path });
      if (url === undefined) return;
      accepted++;
      expect(url).toMatchObject({ protocol: "https:", port: "8443", username: "", search: "", hash: "" });
      expect(url.hostname).toMatch(/^eu-[a-z0-9.-]+\.shop\.example$/);
      expect(url.pathname).toMatch(/^\/api\/[^/]+\/v1$/);
    }),
    { numRuns: 3_000 },
  );
  expect(accepted).toBeGreaterThan(500);
});

test("a value at the end of the host brings no port with it, and one at its start no user", () => {
  expect(placed("https://api.{site}", { site: "eu.example" })?.href).toBe("https://api.eu.example/");
  for (const site of [...hostileValues, "eu.example:80", "eu.example:8443"]) {
    expect(placed("https://api.{site}/v1", { site })?.port ?? "").toBe("");
    expect(placed("https://{site}.eu.example", { site })?.hostname ?? "a.eu.example").toMatch(
      /\.eu\.example$/,
    );
  }
});
