/** Waits for work that may take long, and says so on stderr: each second in one line of a terminal, else each ten. */
export async function withProgress<Result>(what: string, work: Promise<Result>): Promise<Result> {
  const { stderr } = process;
  const started = performance.now();
  const everyMs = stderr.isTTY ? 1_000 : 10_000;
  const timer = setInterval(() => {
    const text = `${what}, ${Math.round((performance.now() - started) / 1000)} s`;
    stderr.write(stderr.isTTY ? `\r${text}` : `${text}\n`);
  }, everyMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    // The line is gone before the answer, or the failure, stands in its place.
    if (stderr.isTTY && performance.now() - started >= everyMs) stderr.write("\r\u001b[K");
  }
}
