import { RootKeyRefused } from "../errors.ts";

/**
 * A package that only deployments with such a root key need, and install beside the service: it is in no bundle, and
 * is read when the root key is opened.
 */
export async function optionalPackage<Package>(name: string, load: () => Promise<Package>): Promise<Package> {
  try {
    return await load();
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") throw error;
    throw new RootKeyRefused(
      `this root key needs the package ${name}, which is not installed: run npm install ${name} where Patchbay is installed`,
    );
  }
}
