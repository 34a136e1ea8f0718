import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from "node:tls";
import nodeVault from "node-vault";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { checkRootKey } from "#src/crypto/check-root-key.ts";
import { testTls } from "../../net/support.ts";
import { freePort } from "../../support/ports.ts";
import type { FakeKey } from "./fake-key.ts";
import { startFakeVault, vaultError, type FakeVault } from "./fake-vault.ts";
import { context, logged, newKey, open, outcome } from "./support.ts";

let vault: FakeVault;
let versions: FakeKey;
let file: string;
const lasting = { seconds: 3600, renewable: true };
const at = (path = "transit/patchbay", query = "") => `vault+${vault.url}/${path}${query}`;

beforeAll(async () => {
  vault = await startFakeVault();
  versions = vault.newKey("transit/patchbay");
  file = join(tmpdir(), `patchbay-vault-${process.pid}`);
});
afterAll(async () => {
  await vault[Symbol.asyncDispose]();
  await rm(file, { force: true });
});
beforeEach(() => {
  vault.failWith(() => undefined);
  vault.minDecryptionVersion = 1;
  vault.knowsAssociatedData = true;
});

/** A root key with a token of its own. */
const withToken = (name: string) => open(at(), { vaultToken: vault.newToken(name, lasting) });

describe("a key of the transit engine", () => {
  test("unwraps what it wrapped for the same record and no other", async () => {
    const rootKey = await withToken("first");
    expect(rootKey.id).toBe("vault:transit/patchbay");
    await checkRootKey(rootKey);
    const key = newKey();
    const wrapped = await rootKey.wrap(key, context);
    expect(wrapped.toString()).toMatch(/^vault:v1:/);
    expect(await rootKey.unwrap(wrapped, context)).toStrictEqual(key);
    expect(await outcome(rootKey.unwrap(wrapped, ["kek", "org_2", "1"]))).toBe("broken");
    expect(await outcome(rootKey.unwrap(Buffer.from("vault:v1:changed"), context))).toBe("broken");
    expect(await outcome(rootKey.unwrap(randomBytes(61), context))).toBe("broken");
  });

  test("is another one under another name or mount", async () => {
    const wrapped = await (await withToken("other")).wrap(newKey(), context);
    for (const path of ["transit/other", "team/a/transit/patchbay"]) {
      vault.newKey(path);
      const other = await open(at(path), { vaultToken: vault.newToken("other", lasting) });
      expect(other.id).toBe(`vault:${path}`);
      await checkRootKey(other);
      expect(await outcome(other.unwrap(wrapped, context))).toBe("broken");
    }
  });

  test("is asked as node-vault asks, which unwraps what it wrapped", async () => {
    const key = newKey();
    const ciphertext = (await (await withToken("node-vault")).wrap(key, context)).toString();
    const client = nodeVault({ endpoint: vault.url, token: vault.newToken("node-vault") });
    const associated_data = Buffer.from('["kek","org_1","1"]').toString("base64");
    const { data } = await client.write("transit/decrypt/patchbay", { ciphertext, associated_data });
    expect(Buffer.from(data.plaintext, "base64")).toStrictEqual(key);
  });

  test("unwraps what its earlier versions wrapped, until Vault is told not to", async () => {
    const rootKey = await withToken("versions");
    const key = newKey();
    const wrapped = await rootKey.wrap(key, context);
    versions.rotate();
    expect(await rootKey.unwrap(wrapped, context)).toStrictEqual(key);
    expect((await rootKey.wrap(key, context)).toString()).toMatch(
      new RegExp(`^vault:v${versions.versions}:`),
    );
    vault.minDecryptionVersion = versions.versions;
    expect(await outcome(rootKey.unwrap(wrapped, context))).toMatch(
      /^refused: .*lower the key's min_decryption/,
    );
  });

  test("of a Vault that ignores what a key belongs to is refused at the start", async () => {
    vault.knowsAssociatedData = false;
    const checking = checkRootKey(await withToken("old"));
    expect(await outcome(checking)).toMatch(/^refused: .*unwraps what was wrapped for another record/);
  });

  test("in a namespace is asked there", async () => {
    await using inside = await startFakeVault("team/payments");
    inside.newKey("transit/patchbay");
    const vaultToken = inside.newToken("namespace", lasting);
    const url = `vault+${inside.url}/transit/patchbay`;
    const rootKey = await open(`${url}?namespace=team/payments`, { vaultToken });
    await checkRootKey(rootKey);
    expect(rootKey.id).toBe("vault:team/payments/transit/patchbay");
    expect(await outcome((await open(url, { vaultToken })).wrap(newKey(), context))).toMatch(
      /^refused: .*status 404/,
    );
  });
});

describe("when Vault does not answer as usual", () => {
  test.each([
    [503, /sealed or starting/],
    [500, /failed with status 500/],
    [429, /no more requests/],
    [412, /status 412/],
    [473, /status 473/],
  ])(
    "status %i is an outage: of a moment it is not noticed, and one that lasts is named",
    async (status, problem) => {
      const rootKey = await withToken("outage");
      const wrapped = await rootKey.wrap(newKey(), context);
      vault.failWith((_, tries) => (tries < 3 ? vaultError(status, "canary") : undefined));
      expect(await outcome(rootKey.unwrap(wrapped, context))).toBe("ok");
      vault.failWith(() => vaultError(status, "canary"));
      const found = await outcome(rootKey.unwrap(wrapped, context));
      expect(found).toMatch(/^outage: /);
      expect(found).toMatch(problem);
    },
  );

  test("a server that is not there, that is no Vault, or that hangs is an outage", async () => {
    const rootKey = await open(`vault+http://127.0.0.1:${await freePort()}/transit/patchbay`, {
      vaultToken: "canary",
    });
    expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(/^outage: .*refuses the connection/);
    const strange = await withToken("strange");
    vault.failWith(() => ({ status: 200, body: "<html>" }));
    expect(await outcome(strange.wrap(newKey(), context))).toMatch(/^outage: .*that the URL leads to Vault/);
    const hanging = await open(at(), { vaultToken: vault.newToken("hanging", lasting), tryMs: 100 });
    vault.failWith(() => new Promise<never>(() => {}));
    expect(await outcome(hanging.wrap(newKey(), context))).toMatch(/^outage: .*did not answer in 100 ms/);
  });

  test("a redirect is not followed: the token stays here", async () => {
    await using elsewhere = await startFakeVault();
    const rootKey = await withToken("redirect");
    vault.failWith((path) =>
      path.startsWith("transit/")
        ? { status: 307, headers: { location: `${elsewhere.url}/v1/${path}` } }
        : undefined,
    );
    expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
      /^refused: .*status 307: give the address of the active/,
    );
    expect(elsewhere.asked).toHaveLength(0);
  });

  test.each([
    [403, "permission denied", /let the policy of the token/],
    [404, "no handler for route", /check the mount/],
    [400, "encryption key not found", /there is no such key/],
    [400, "missing 'context' for key derivation; the key was created using a derived key", /derived=false/],
    [400, "something new, with canary", /type=aes256-gcm96/],
  ])("status %i, %s: a refusal that says what to change", async (status, text, advice) => {
    const rootKey = await withToken("refusal");
    vault.failWith((path) => (path.startsWith("transit/") ? vaultError(status, text) : undefined));
    const found = await outcome(rootKey.wrap(newKey(), context));
    expect(found).toMatch(new RegExp(`^refused: Vault refuses transit/patchbay with status ${status}: `));
    expect(found).toMatch(advice);
  });
});

test("over TLS, Vault is believed by its certificate, and not asked without one that is trusted", async () => {
  const front = createTlsServer(testTls, (socket) => {
    const behind = connect(Number(new URL(vault.url).port), "127.0.0.1");
    socket.pipe(behind).pipe(socket);
    for (const end of [socket, behind]) end.on("error", () => {});
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const { port } = front.address() as AddressInfo;
  const url = `vault+https://127.0.0.1:${port}/transit/patchbay`;
  const asked = vault.asked.length;
  const strange = await open(url, { vaultToken: vault.newToken("tls", lasting) });
  expect(await outcome(strange.wrap(newKey(), context))).toMatch(/^refused: .*NODE_EXTRA_CA_CERTS/);
  expect(vault.asked.length).toBe(asked);
  const trusted = getCACertificates("default");
  setDefaultCACertificates([...trusted, testTls.cert.toString()]);
  try {
    await checkRootKey(await open(url, { vaultToken: vault.newToken("tls", lasting) }));
  } finally {
    setDefaultCACertificates(trusted);
    front.close();
  }
});

describe("the token", () => {
  test("is missing: that is something to change", async () => {
    const rootKey = await open(at());
    expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
      /^refused: .*set VAULT_TOKEN, or add token_file/,
    );
    const named = await open(at(undefined, "?token_file=/nowhere"));
    expect(await outcome(named.wrap(newKey(), context))).toMatch(
      /^refused: .*\/nowhere, .* cannot be read \(ENOENT\)/,
    );
  });

  test.each(["canary\u0001", "canary ä\u{1f600}", "two\nlines canary"])(
    "that no header holds is refused, and not shown: %j",
    async (token) => {
      const rootKey = await open(at(), { vaultToken: token });
      expect(await outcome(rootKey.wrap(newKey(), context))).toBe(
        "refused: the token for Vault is no token: check it",
      );
    },
  );

  test("is added by an agent, if the URL says so", async () => {
    await using agent = await startFakeVault();
    agent.newKey("transit/patchbay");
    const rootKey = await open(`vault+${agent.url}/transit/patchbay?auth=agent`, { vaultToken: "canary" });
    expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(/^refused: .*status 403/);
    agent.addsToken = true;
    await checkRootKey(rootKey);
    expect(agent.authPaths()).toStrictEqual([]);
  });

  test("is used as it is when it cannot be renewed, which the log says once", async () => {
    const before = logged().length;
    const rootKey = await open(at(), { vaultToken: vault.newToken("root") });
    await checkRootKey(rootKey);
    await checkRootKey(rootKey);
    expect(
      logged()
        .slice(before)
        .match(/cannot be renewed and is used until it ends/g),
    ).toHaveLength(1);
  });

  test("is renewed before it ends, again and again", async () => {
    const before = vault.authPaths().length;
    const rootKey = await open(at(), {
      vaultToken: vault.newToken("short", { seconds: 0.3, renewable: true }),
    });
    await checkRootKey(rootKey);
    await vi.waitUntil(() => vault.authPaths().slice(before).length >= 3, { timeout: 50_000 });
    // Only then does the timer end.
    vault.revoke("hvs.canary-short");
    expect(new Set(vault.authPaths().slice(before))).toStrictEqual(new Set(["token/renew-self"]));
  });

  test("of a file that was replaced is taken from there when Vault refuses the old one", async () => {
    await writeFile(file, vault.newToken("before", lasting));
    const rootKey = await open(at(undefined, `?token_file=${file}`));
    await checkRootKey(rootKey);
    await writeFile(file, `${vault.newToken("after", lasting)}\n`);
    vault.revoke("hvs.canary-before");
    expect(await outcome(rootKey.wrap(newKey(), context))).toBe("ok");
    vault.revoke("hvs.canary-after");
    expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
      /^refused: .*see that the token has not ended/,
    );
  });

  test("that Vault stops renewing is reported, with the time that is left", async () => {
    const lease = { seconds: 0.4, renewable: true, renewedSeconds: 0.1 };
    await writeFile(file, vault.newToken("ending", lease));
    const rootKey = await open(at(undefined, `?token_file=${file}`));
    await checkRootKey(rootKey);
    await vi.waitUntil(() => logged().includes("Vault does not renew the token"), { timeout: 50_000 });
  });
});

describe("a login", () => {
  test.each([
    [
      "by AppRole",
      "?auth=approle&role_id=patchbay&secret_id_file=FILE",
      "approle/login",
      { role_id: "patchbay", secret_id: "canary-secret" },
    ],
    [
      "by Kubernetes, at a mount of its own",
      "?auth=kubernetes&auth_mount=k8s/prod&role=patchbay&jwt_file=FILE",
      "k8s/prod/login",
      { role: "patchbay", jwt: "canary-secret" },
    ],
  ])(
    "%s is made once for calls that come together, and again when Vault forgot it",
    async (_, query, path, body) => {
      await writeFile(file, "canary-secret\n");
      vault.letIn(`auth/${path}`, body, lasting);
      const before = vault.authPaths().length;
      const rootKey = await open(at(undefined, query.replace("FILE", file)));
      await Promise.all(Array.from({ length: 5 }, () => rootKey.wrap(newKey(), context)));
      expect(vault.authPaths().slice(before)).toStrictEqual([path]);
      vault.revoke(String(vault.asked.at(-1)!.headers["x-vault-token"]));
      await Promise.all(Array.from({ length: 5 }, () => rootKey.wrap(newKey(), context)));
      expect(vault.authPaths().slice(before)).toStrictEqual([path, path]);
    },
  );

  test("is not made again for each call that a policy does not allow", async () => {
    await writeFile(file, "canary-secret");
    vault.letIn("auth/approle/login", { role_id: "limited", secret_id: "canary-secret" }, lasting);
    const rootKey = await open(at(undefined, `?auth=approle&role_id=limited&secret_id_file=${file}`));
    const before = vault.authPaths().length;
    vault.failWith((path) =>
      path.startsWith("transit/") ? vaultError(403, "permission denied") : undefined,
    );
    for (let call = 0; call < 10; call++) {
      expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(/^refused: .*let the policy/);
    }
    expect(vault.authPaths().slice(before)).toStrictEqual(["approle/login", "approle/login"]);
  });

  test("whose token comes near the end of its time is made again, before a call needs it", async () => {
    await writeFile(file, "canary-secret");
    const body = { role_id: "ending", secret_id: "canary-secret" };
    vault.letIn("auth/approle/login", body, { seconds: 0.3, renewable: true, renewedSeconds: 0.1 });
    const before = vault.authPaths().length;
    const rootKey = await open(at(undefined, `?auth=approle&role_id=ending&secret_id_file=${file}`));
    await rootKey.wrap(newKey(), context);
    await vi.waitUntil(
      async () => {
        await rootKey.wrap(newKey(), context);
        return vault.authPaths().length - before >= 3;
      },
      { timeout: 50_000 },
    );
    const paths = vault.authPaths().slice(before, before + 3);
    expect(paths).toStrictEqual(["approle/login", "token/renew-self", "approle/login"]);
  });

  test("that Vault refuses is something to change, and its secret is in no error", async () => {
    await writeFile(file, "canary-wrong");
    const rootKey = await open(at(undefined, `?auth=approle&role_id=patchbay&secret_id_file=${file}`));
    expect(await outcome(rootKey.wrap(newKey(), context))).toMatch(
      /^refused: Vault refuses the login at auth\/approle with status 400: check role_id/,
    );
  });
});

test("nothing that was logged holds a secret", () => {
  expect(logged()).not.toContain("canary");
});
