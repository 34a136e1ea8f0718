import type { Command } from "commander";
import type { RemoteFlags } from "#src/config/config.ts";

/** Adds the commands that ask a running service, which other programs do through its API. */
export function addRemoteCommands(root: Command): void {
  const connections = root.command("connections").description("connections of a running service");

  remote(connections.command("list"))
    .description("the connections of the organisation")
    .action(async (flags: Shown) => {
      const { listConnections } = await import("./connections.ts");
      await listConnections(flags);
    });

  remote(connections.command("get"))
    .description("one connection")
    .argument("<connection>", "its slug or id")
    .action(async (connection: string, flags: Shown) => {
      const { showConnection } = await import("./connections.ts");
      await showConnection(connection, flags);
    });

  remote(connections.command("put"))
    .description(
      "register a connection, or replace base URL and credential of the one with the slug; of a preset, make another one",
    )
    .argument("<service>", "a built-in service, custom:<name>, or a preset such as github")
    .option("--base-url <url>", "what paths of calls are joined to, unless the preset says it")
    .option("--api-key-file <file>", "holds the key that the service expects; - for stdin")
    .option("--auth <method>", "another way to sign in than by that key, such as basic")
    .option("--set <name=value>", "what that asks for and is no secret; may be given several times", several)
    .option("--secret <name=file>", "what that asks for; - for stdin; may be given several times", several)
    .option("--verify", "ask the service first, and store nothing if it refuses the credential")
    .option("--scopes <list>", "of the service principal that a built-in service gets without a key")
    .action(async (service: string, flags: Shown & PutFlags) => {
      const { putConnection } = await import("./connections.ts");
      await putConnection(service, flags);
    });

  remote(connections.command("authorize"))
    .description("a link at which a person connects the service of a connection with OAuth 2.0")
    .argument("<connection>", "its slug or id")
    .option(
      "--scopes <list>",
      "what the service is asked to permit, instead of what its integration asks for",
    )
    .option("--return-to <url>", "where the person is sent afterwards")
    .action(async (connection: string, flags: Shown & { scopes?: string; returnTo?: string }) => {
      const { authorizeConnection } = await import("./connections.ts");
      await authorizeConnection(connection, flags);
    });

  remote(connections.command("test"))
    .description("ask the service of a connection for a sign of life; fails if there is none")
    .argument("<connection>", "its slug or id")
    .action(async (connection: string, flags: Shown) => {
      const { testConnection } = await import("./connections.ts");
      process.exitCode = (await testConnection(connection, flags)) ? 0 : 1;
    });

  remote(connections.command("rm"))
    .description("delete a connection and its credential")
    .argument("<connection>", "its slug or id")
    .action(async (connection: string, flags: Shown) => {
      const { removeConnection } = await import("./connections.ts");
      await removeConnection(connection, flags);
    });

  remote(root.command("call"))
    .description(
      "call a connected service; prints the body of its answer, and fails if its status is 400 or more",
    )
    .argument("<connection>", "its slug or id")
    .argument("<method>", "such as GET")
    .argument("<path>", "joined to the base URL; may have a query")
    .option("-d, --data <text>", "the body; @<file> for a file's content, - for stdin")
    .option("-H, --header <name: value>", "a header; may be given several times", several)
    .option("-q, --query <name=value>", "a query parameter; may be given several times", several)
    .option("-i, --include", "print status and headers before the body")
    .action(async (connection: string, method: string, path: string, flags: Shown & CallFlags) => {
      const { call } = await import("./call.ts");
      process.exitCode = (await call({ connection, method, path }, flags)) ? 0 : 1;
    });

  remote(root.command("demo"))
    .description(
      "connect a service that has OAuth 2.0, and receive events, to see how that goes; it runs until Ctrl-C",
    )
    .action(async (flags: Shown) => {
      const { demonstrate } = await import("./oauth-demo.ts");
      await demonstrate(flags);
    });
}

/** What every such command takes. */
export interface Shown extends RemoteFlags {
  /** Print the answer as JSON, for scripts. */
  readonly json?: true;
}

/** What a connection is made with. */
export interface PutFlags {
  readonly baseUrl?: string;
  readonly apiKeyFile?: string;
  readonly auth?: string;
  readonly set?: readonly string[];
  readonly secret?: readonly string[];
  readonly verify?: true;
  readonly scopes?: string;
}

/** What a call is made with. */
export interface CallFlags {
  readonly data?: string;
  readonly header?: readonly string[];
  readonly query?: readonly string[];
  readonly include?: true;
}

/** The command, with the flags that say which service is asked, and how its answer is shown. */
export function remote(command: Command): Command {
  return asking(command).option("--json", "print the answer as JSON");
}

/** The command, with the flags that say which service is asked. */
export function asking(command: Command): Command {
  return command
    .option("--url <url>", "where the service is [PATCHBAY_URL] (default: http://127.0.0.1:7420)")
    .option("--key-file <file>", "holds the API key, unless PATCHBAY_KEY does (default: data/admin-key)");
}

/** Collects an option that may be given several times. */
export function several(one: string, others: readonly string[] = []): readonly string[] {
  return [...others, one];
}
