import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseRootKeyUrl } from "#src/crypto/root-keys/place.ts";

const arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const gcp = "projects/my-project/locations/europe-west3/keyRings/patchbay/cryptoKeys/root";
const vault = "vault+https://vault.internal:8200/transit/patchbay";

describe("a root key's URL names", () => {
  test.each([
    [`awskms:///${arn}`, { key: arn, region: "eu-central-1" }],
    ["awskms:///alias/patchbay", { key: "alias/patchbay", region: undefined }],
    [
      "awskms:///alias/team/patchbay?region=us-gov-west-1",
      { key: "alias/team/patchbay", region: "us-gov-west-1" },
    ],
    [`awskms:///mrk-0?endpoint=https://vpce-1.kms.eu-central-1.vpce.amazonaws.com`, { key: "mrk-0" }],
    ["awskms:///arn:aws-cn:kms:cn-north-1:111122223333:alias/patchbay", { region: "cn-north-1" }],
    [`gcpkms://${gcp}`, { key: gcp }],
    [`gcpkms://${gcp}?endpoint=http://127.0.0.1:9000`, { endpoint: new URL("http://127.0.0.1:9000") }],
    [vault, { mount: "transit", key: "patchbay", auth: { method: "token" } }],
    [
      "vault+http://[::1]:8200/team/a/transit/k",
      { address: "http://[::1]:8200", mount: "team/a/transit", key: "k" },
    ],
    [
      `${vault}?namespace=a/b&token_file=/run/t`,
      { namespace: "a/b", auth: { method: "token", file: "/run/t" } },
    ],
    [`${vault}?auth=agent`, { auth: { method: "agent" } }],
    [
      `${vault}?auth=approle&role_id=r&secret_id_file=/run/s`,
      { auth: { method: "approle", mount: "approle", roleId: "r", secretIdFile: "/run/s" } },
    ],
    [
      `${vault}?auth=kubernetes&role=r`,
      {
        auth: {
          method: "kubernetes",
          mount: "kubernetes",
          role: "r",
          jwtFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
        },
      },
    ],
  ])("%s", (url, place) => {
    expect(parseRootKeyUrl(url)).toMatchObject(place);
  });
});

describe("it is refused, with what to give and without what it holds:", () => {
  test.each([
    ["another scheme", "https://canary", /begins with awskms/],
    ["no URL at all", "canary", /begins with awskms/],
    ["a password", `vault+https://me:canary@vault.internal/transit/k`, /without user, password/],
    ["a fragment", `${vault}#canary`, /without user, password and #/],
    [
      "an unknown parameter",
      `${vault}?tokn=canary`,
      /no place for the parameter tokn here; there is namespace, auth, token_file$/,
    ],
    ["a parameter of another way to log in", `${vault}?role_id=canary`, /no place for the parameter role_id/],
    ["a parameter twice", `${vault}?namespace=canary&namespace=b`, /the parameter namespace once/],
    ["a parameter without value", `${vault}?namespace=`, /the parameter namespace a value/],
    [
      "a way to log in that does not exist",
      `${vault}?auth=canary`,
      /one of agent, token, approle, kubernetes/,
    ],
    ["AppRole without its secret", `${vault}?auth=approle&role_id=canary`, /role_id and secret_id_file/],
    ["Kubernetes without role", `${vault}?auth=kubernetes`, /give role/],
    ["a file by a part of its path", `${vault}?token_file=canary`, /token_file as a whole path/],
    ["Vault without TLS elsewhere", "vault+http://canary.internal:8200/transit/k", /https address/],
    ["Vault without a key", "vault+https://canary.internal:8200/transit", /MOUNT\/KEY/],
    [
      "a path that leads elsewhere",
      "vault+https://vault.internal/transit/..%2f..%2fsys/canary",
      /MOUNT\/KEY/,
    ],
    ["a namespace that leads elsewhere", `${vault}?namespace=../canary`, /namespace such as/],
    ["a mount that leads elsewhere", `${vault}?auth=kubernetes&role=r&auth_mount=../canary`, /auth_mount/],
    ["a key of AWS in the place of the host", "awskms://alias/canary", /three slashes/],
    ["no key of AWS", "awskms:///", /three slashes/],
    ["an ARN of something else", "awskms:///arn:aws:s3:::canary", /three slashes/],
    ["two regions", `awskms:///${arn}?region=us-east-1`, /names eu-central-1: leave it out/],
    ["a region that is a host", "awskms:///alias/k?region=canary.example", /region such as/],
    ["an endpoint with a path", `awskms:///${arn}?endpoint=https://canary/x`, /an origin such as/],
    [
      "an endpoint without TLS elsewhere",
      `awskms:///${arn}?endpoint=http://canary.internal`,
      /https address/,
    ],
    ["a version of a key of Google", `gcpkms://${gcp}/cryptoKeyVersions/1`, /without a version/],
    ["half a key of Google", "gcpkms://projects/canary", /without a version/],
    ["a token as a parameter", `${vault}?hvs.canary`, /each parameter a value/],
    ["a percent sign", "awskms:///alias/%canary", /percent-encoded/],
  ])("%s", (_, url, problem) => {
    let message = "";
    try {
      parseRootKeyUrl(url);
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toMatch(problem);
    expect(message).not.toContain("canary");
  });
});

test("no message shows what was pasted at the wrong place", () => {
  const urls = [
    `awskms:///${arn}?endpoint=https://kms.internal`,
    `gcpkms://${gcp}?endpoint=https://kms.internal`,
    `${vault}?auth=approle&role_id=r&secret_id_file=/run/s&namespace=a`,
  ];
  const pasted = "hvs.Canary-1";
  fc.assert(
    fc.property(fc.constantFrom(...urls), fc.nat(), fc.nat(8), (url, place, cut) => {
      const at = place % (url.length + 1);
      const text = url.slice(0, at) + pasted + url.slice(Math.min(at + cut, url.length));
      try {
        parseRootKeyUrl(text);
      } catch (error) {
        expect((error as Error).message.toLowerCase()).not.toContain(pasted.toLowerCase());
      }
    }),
    { numRuns: 1_000 },
  );
});
