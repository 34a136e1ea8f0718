/** Runs inside a measured process: tells its port, and its CPU time whenever it is asked. */
export function tellParent(port: number): void {
  process.on("message", (question) => {
    if (question === "cpu") {
      const { user, system } = process.cpuUsage();
      process.send?.({ cpuMicroseconds: user + system });
    }
    if (question === "end") process.exit(0);
  });
  process.send?.({ port });
}
