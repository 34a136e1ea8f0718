import { invalidSetting } from "#src/config/config.ts";

/** Opens the port that the setting names. */
export async function listen<T>(setting: "port" | "metricsPort", open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const { message, cause } = error as Error;
    const { code } = cause as NodeJS.ErrnoException;
    throw invalidSetting(code === "EADDRINUSE" || code === "EACCES" ? setting : "host", message);
  }
}
