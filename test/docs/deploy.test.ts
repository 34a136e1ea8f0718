import { execFile, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { parse, parseAllDocuments } from "yaml";
import { describe, expect, test } from "vitest";
import { settings } from "#src/config/settings.ts";
import { startService } from "../support/service.ts";

const read = (name: string) => readFileSync(`deploy/${name}`, "utf8");
const files = ["Dockerfile", "compose.yaml", "kubernetes.yaml", "patchbay.service"];
const variables = new Set<string>(Object.values(settings).map(({ env }) => env));

test.each(files)("every variable that deploy/%s names is a setting of the service", (name) => {
  const named = read(name).match(/\b(?:PATCHBAY_[A-Z_]+|DATABASE_URL)\b/g) ?? [];
  expect(named.length).toBeGreaterThan(1);
  expect(named.filter((variable) => !variables.has(variable))).toStrictEqual([]);
});

test("the page about deploying speaks of each file", () => {
  const page = readFileSync("docs/deploying.md", "utf8");
  for (const name of files) expect(page).toContain(`deploy/${name}`);
  expect(readdirSync("deploy")).toEqual(expect.arrayContaining(files));
});

describe("the compose file", () => {
  const compose = parse(read("compose.yaml")) as Compose;

  test("mounts only what it declares, and waits for what it needs", () => {
    const { services, volumes, secrets } = compose;
    const mounts = Object.values(services).flatMap((one) => one?.volumes ?? []);
    expect(
      mounts.map((mount) => mount.split(":")[0]).filter((name = "") => !(name in volumes)),
    ).toStrictEqual([]);
    const patchbay = services["patchbay"];
    expect(Object.keys(patchbay?.depends_on ?? {})).toStrictEqual(["postgres", "redis"]);
    expect(patchbay?.secrets).toStrictEqual(Object.keys(secrets));
    for (const name of ["postgres", "redis"]) expect(services[name]?.healthcheck).toBeDefined();
  });

  test("gives the service no secret of its own, no writable root, and no port beyond loopback", () => {
    const { patchbay } = compose.services;
    expect(patchbay).toMatchObject({
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
    });
    expect(patchbay?.ports?.filter((port) => !port.startsWith("127.0.0.1:"))).toStrictEqual([]);
    expect(patchbay?.environment?.["DATABASE_URL"]).toContain("${POSTGRES_PASSWORD:?");
    expect(patchbay?.environment?.["PATCHBAY_ROOT_KEY"]).toBeUndefined();
  });

  test("stops the service later than that drains", () => {
    const [, seconds] = /^(\d+)s$/.exec(compose.services["patchbay"]?.stop_grace_period ?? "") ?? [];
    expect(Number(seconds)).toBeGreaterThan(Number(settings.drainSeconds.fallback) + 5);
  });
});

describe("the Kubernetes manifest", () => {
  const documents = parseAllDocuments(read("kubernetes.yaml")).map((one) => one.toJS() as Manifest);
  const deployment = documents.find(({ kind }) => kind === "Deployment");
  const pod = deployment?.spec.template?.spec;
  const [container] = pod?.containers ?? [];

  test("selects its own pods everywhere, and mounts only volumes that it has", () => {
    const labels = deployment?.spec.template?.metadata.labels;
    const selectors = documents.map(({ kind, spec }) =>
      kind === "Service" ? spec.selector : spec.selector?.["matchLabels"],
    );
    expect(selectors).toStrictEqual([labels, labels, labels]);
    const volumes = pod?.volumes.map(({ name }) => name) ?? [];
    expect(container?.volumeMounts.map(({ name }) => name).toSorted()).toStrictEqual(volumes.toSorted());
  });

  test("runs as no root, writes no root, and ends later than the service drains", () => {
    expect(pod?.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 10_001 });
    expect(container?.securityContext).toStrictEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(pod?.terminationGracePeriodSeconds).toBeGreaterThan(Number(settings.drainSeconds.fallback) + 5);
  });

  test("asks the paths that the service answers, at the port that it has", () => {
    const probes = [container?.startupProbe, container?.livenessProbe, container?.readinessProbe];
    expect(probes.map((probe) => probe?.httpGet)).toStrictEqual([
      { path: "/healthz", port: "api" },
      { path: "/healthz", port: "api" },
      { path: "/readyz", port: "api" },
    ]);
    expect(container?.ports).toContainEqual({ name: "api", containerPort: Number(settings.port.fallback) });
  });
});

test("the image runs as a user that is not root, and the service is its first process", () => {
  const text = read("Dockerfile");
  const last = text.slice(text.lastIndexOf("\nFROM "));
  expect(last).toMatch(/^USER 10001:10001$/m);
  expect(last).toMatch(/^ENTRYPOINT \["patchbay"\]$/m);
  expect(last).toContain(`EXPOSE ${settings.port.fallback}`);
  const { engines } = JSON.parse(readFileSync("package.json", "utf8")) as { engines: { node: string } };
  const [wanted] = /\d+/.exec(engines.node) ?? [];
  for (const [, major] of text.matchAll(/^FROM node:(\d+)/gm)) expect(major).toBe(wanted);
});

test("the image is healthy while the service is ready, with TLS of any name or without, and not when it is gone", async () => {
  const [, check = ""] = /^HEALTHCHECK .*\n {2}CMD (\[.*\])$/m.exec(read("Dockerfile")) ?? [];
  const [command = "", ...args] = JSON.parse(check) as string[];
  const exitCode = (env: NodeJS.ProcessEnv) =>
    new Promise((resolve) => {
      execFile(command, args, { env: { PATH: process.env["PATH"], ...env } }, (error) =>
        resolve(error?.code ?? 0),
      );
    });
  const portOf = ({ url }: { url: string }) => new URL(url).port;
  const tls = {
    cert: readFileSync("test/net/test-only.cert.pem"),
    key: readFileSync("test/net/test-only.key.pem"),
  };
  const plain = await startService();
  expect(await exitCode({ PATCHBAY_PORT: portOf(plain) })).toBe(0);
  await plain[Symbol.asyncDispose]();
  expect(await exitCode({ PATCHBAY_PORT: portOf(plain) })).toBe(1);
  await using secured = await startService({ tls });
  expect(await exitCode({ PATCHBAY_PORT: portOf(secured), PATCHBAY_TLS_CERT: "cert.pem" })).toBe(0);
});

test("npm installs the image's package without --global, for which it omits no optional package", () => {
  const [install = ""] = /^RUN npm install .*$/m.exec(read("Dockerfile")) ?? [];
  expect(install).toContain(" --omit=$OMIT ");
  expect(install).not.toMatch(/--global|\s-g\b/);
});

test("what the page has you put beside the compose file goes neither into an image nor into a commit", () => {
  const asked = ["root-key", ".env"];
  expect(readFileSync("docs/deploying.md", "utf8")).toMatch(/> root-key; .*> \.env\)$/m);
  const ignored = readFileSync(".dockerignore", "utf8").split("\n");
  expect(ignored).toEqual(expect.arrayContaining(["deploy/root-key", "**/.env"]));
  for (const name of asked) {
    expect(spawnSync("git", ["check-ignore", "--quiet", `deploy/${name}`]).status).toBe(0);
  }
});

const systemd = spawnSync("systemd-analyze", ["--version"]).status === 0;
test.skipIf(!systemd)("systemd has nothing to say against the unit", () => {
  const { status, stderr } = spawnSync("systemd-analyze", ["verify", "deploy/patchbay.service"], {
    encoding: "utf8",
  });
  expect({ status, stderr }).toStrictEqual({ status: 0, stderr: "" });
});

/** What the tests read of a compose file. */
interface Compose {
  readonly services: Readonly<Record<string, ComposeService | undefined>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, unknown>>;
}

interface ComposeService {
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly secrets?: readonly string[];
  readonly depends_on?: object;
  readonly healthcheck?: object;
  readonly stop_grace_period?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** What the tests read of a manifest. */
interface Manifest {
  readonly kind: string;
  readonly spec: {
    readonly selector?: Readonly<Record<string, unknown>>;
    readonly template?: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly securityContext: object;
        readonly terminationGracePeriodSeconds: number;
        readonly volumes: readonly { readonly name: string }[];
        readonly containers: readonly Container[];
      };
    };
  };
}

interface Container {
  readonly securityContext: object;
  readonly ports: readonly object[];
  readonly volumeMounts: readonly { readonly name: string }[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
}

interface Probe {
  readonly httpGet: object;
}
