import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { openConnection, type Rows } from "#src/db/connection.ts";
import { findRunningPostgres } from "#src/db/embedded/supervisor.ts";
import { patchbay, temporaryFolder, type Patchbay } from "../../cli/patchbay.ts";
import { freePort } from "../../support/ports.ts";

/** The real program in a process of its own, which may be killed and started again at the same port. */
export interface Deployment extends AsyncDisposable {
  readonly url: string;
  readonly dataDir: string;
  readonly adminKey: string;
  /** The process that runs now. */
  readonly service: Patchbay;
  /** Starts the next process, as a supervisor does whose service was killed. */
  startAgain(): Promise<void>;
  /** One statement as the owner of the tables, who sees all organisations. */
  asOwner(...statement: Parameters<ReturnType<typeof openConnection>["run"]>): Promise<Rows>;
  /** The lines that all its processes have logged. */
  logged(): readonly LogLine[];
}

/** A line of the service's log. */
export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [fact: string]: unknown;
}

/** What a test may choose. */
export interface DeploymentOptions {
  /** How the service reaches a Postgres of the test, and how the test does; the embedded one if there is none. */
  readonly database?: { readonly url: string; readonly ownerUrl: string };
  readonly dataDir?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

// So high that the load reaches none.
const limits = [
  ...["--rate-limit-per-minute", "100000", "--max-rate-limit-per-minute", "100000"],
  ...["--failed-authentications-per-minute", "100000"],
];

/** Starts the service on an empty data folder; loopback may be called, since the outside world is played there. */
export async function startDeployment(options: DeploymentOptions = {}): Promise<Deployment> {
  const { database } = options;
  await using opened = new AsyncDisposableStack();
  const folder = opened.use(await temporaryFolder());
  const { dataDir = join(folder.path, "data") } = options;
  const port = await freePort();
  const args = ["start", "--data-dir", dataDir, "--port", String(port), ...limits, ...(options.args ?? [])];
  const env = {
    ...(database && {
      DATABASE_URL: database.url,
      PATCHBAY_ROOT_KEY: Buffer.alloc(32, 1).toString("base64"),
    }),
    ...options.env,
  };
  const services: Patchbay[] = [];
  opened.defer(async () => {
    await services.at(-1)?.[Symbol.asyncDispose]();
  });

  async function startNext(): Promise<Patchbay> {
    const next = patchbay(args, { env });
    services.push(next);
    await next.ready();
    return next;
  }

  let service = await startNext();
  const adminKey = (await readFile(join(dataDir, "admin-key"), "utf8")).trim();
  const closing = opened.move();
  return {
    ...{ url: `http://127.0.0.1:${port}`, dataDir, adminKey },
    get service() {
      return service;
    },
    async startAgain() {
      service = await startNext();
    },
    async asOwner(...statement) {
      const url = database?.ownerUrl ?? (await findRunningPostgres(dataDir));
      if (url === undefined) throw new Error("the embedded Postgres does not run");
      // A connection for each question: the server may have ended since the last one.
      await using connection = openConnection(url, { application_name: "test owner" });
      return await connection.run(...statement);
    },
    logged: () => services.flatMap((one) => linesOf(one.stdout())),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** Those between which the start prints where things are. */
function linesOf(stdout: string): LogLine[] {
  const whole = stdout.slice(0, stdout.lastIndexOf("\n") + 1).split("\n");
  return whole.filter((line) => line.startsWith('{"level"')).map((line) => JSON.parse(line) as LogLine);
}
