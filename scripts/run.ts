import { execFile } from "node:child_process";

/** Runs a tool of the repository and answers what it printed; if it fails, that is the message of the error. */
export function run(command: string, ...args: string[]): Promise<string> {
  return runIn(".", command, ...args);
}

/** The same in another folder. */
export function runIn(folder: string, command: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd: folder, maxBuffer: 64 * 1024 * 1024, timeout: 120_000 };
    const child = execFile(command, args, options, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`.trim();
      if (error === null) resolve(output);
      else reject(new Error(output === "" ? error.message : output, { cause: error }));
    });
    // A tool that would ask a question fails instead of waiting for an answer.
    child.stdin?.end();
  });
}
