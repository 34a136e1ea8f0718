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
    .description("register a connection, or replace base URL and credential of the one that has the slug")
    .argument("<slug>", "a built-in service or custom:<name>")
    .requiredOption("--base-url <url>", "what paths of calls are joined to")
    .option("--api-key-file <file>", "holds the key that the service expects; - for stdin")
    .option("--scopes <list>", "of the service principal that a built-in service gets without a key")
    .action(
      async (slug: string, flags: Shown & { baseUrl: string; apiKeyFile?: string; scopes?: string }) => {
        const { putConnection } = await import("./connections.ts");
        await putConnection(slug, flags);
      },
    );

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
}

/** What every such command takes. */
export interface Shown extends RemoteFlags {
  /** Print the answer as JSON, for scripts. */
  readonly json?: true;
}

/** What a call is made with. */
export interface CallFlags {
  readonly data?: string;
  readonly header?: readonly string[];
  readonly query?: readonly string[];
  readonly include?: true;
}

function remote(command: Command): Command {
  return command
    .option("--url <url>", "where the service is [PATCHBAY_URL] (default: http://127.0.0.1:7420)")
    .option("--key-file <file>", "holds the API key, unless PATCHBAY_KEY does (default: data/admin-key)")
    .option("--json", "print the answer as JSON");
}

function several(one: string, others: readonly string[] = []): readonly string[] {
  return [...others, one];
}
