/** Runs inside a measured process: tells its port, and its CPU time and its most memory whenever it is asked. Ends when its parent does. */
export function tellParent(port: number): void {
  process.once("disconnect", () => process.exit(0));
  // The parent may have ended while this process started.
  if (!process.connected) process.exit(0);
  process.on("message", (question) => {
    if (question === "memory") process.send?.({ peakBytes: process.resourceUsage().maxRSS * 1024 });
    if (question !== "cpu") return;
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuMicroseconds: user + system });
  });
  process.send?.({ port });
}
