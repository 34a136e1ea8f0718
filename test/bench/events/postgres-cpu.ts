import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

const ticksPerSecond = 100;

/**
 * Seconds of CPU that the embedded Postgres of the data folder and its backends have used. A backend that has ended is
 * not in it: keep connections open between two questions. Linux only; NaN elsewhere.
 */
export async function postgresCpu(dataDir: string): Promise<number> {
  const postmaster = (await readFile(join(dataDir, "postgres/postmaster.pid"), "utf8")).split("\n")[0];
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  if (pids.length === 0) return Number.NaN;
  const seconds = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
      const [, parent, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const isOurs = pid === postmaster || parent === postmaster;
      // utime and stime, which are the 14th and 15th of the line.
      return isOurs ? (Number(fields[9]) + Number(fields[10])) / ticksPerSecond : 0;
    }),
  );
  return seconds.reduce((sum, one) => sum + one, 0);
}
