/** Whether the text is a host name that DNS can carry, in its ASCII form and without the final dot. */
export function isHostName(text: string): boolean {
  return text.length <= 253 && text.split(".").every((label) => /^[a-z0-9_-]{1,63}$/.test(label));
}

/** The host as certificates and allow-lists write it; the final dot only says that the name is complete. */
export function withoutDot(host: string): string {
  return host.replace(/\.$/, "");
}
