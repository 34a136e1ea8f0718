import { X509Certificate } from "node:crypto";
import { stat } from "node:fs/promises";
import type { Config } from "#src/config/config.ts";
import { isLoopback } from "#src/config/loopback.ts";
import { nameOf } from "#src/config/settings.ts";
import type { RootKey } from "#src/crypto/root-key.ts";
import type { Log } from "#src/platform/log.ts";
import { findRootKey, rootKeyFileOf } from "../root-key.ts";
import { readTls } from "../tls.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

/** Looks at the Node that runs this. */
export function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const enough = major > 24 || (major === 24 && minor >= 13);
  // Before that, one HEADERS frame ends the process (CVE-2025-59465).
  return enough ? ok(process.version) : fail(`${process.version}; install Node 24.13 or newer`);
}

/** Says what connections may call. */
export function checkOutbound({ outboundAllow }: Config): Finding {
  if (outboundAllow !== "") return ok(`public addresses, and ${outboundAllow}`);
  return ok(`public addresses only; for services in your own network, set ${nameOf("outboundAllow")}`);
}

const renewDays = 14;

/** Looks at the port's own certificate. */
export async function checkTls(config: Config): Promise<Finding> {
  const tls = await readTls(config);
  if (tls === undefined) {
    if (isLoopback(config.host)) return ok("none; only this machine can connect");
    return warn(
      `none: keys cross the network in clear; set ${nameOf("tlsCert")} and ${nameOf("tlsKey")}, or end TLS in front`,
    );
  }
  const { validFromDate: begins, validToDate: ends } = new X509Certificate(tls.cert);
  if (begins.getTime() > Date.now())
    return fail(`${config.tlsCert}, valid from ${begins.toISOString()} only`);
  const text = `${config.tlsCert}, valid until ${ends.toISOString()}`;
  const daysLeft = (ends.getTime() - Date.now()) / (24 * 60 * 60 * 1000);
  if (daysLeft < 0) return fail(`${text}: renew it`);
  return daysLeft < renewDays ? warn(`${text}: renew it`) : ok(text);
}

/** Finds the root key, and looks at who else could. */
export async function checkRootKey(config: Config, log: Log): Promise<Finding<RootKey>> {
  const rootKey = await findRootKey(config, log);
  const file = rootKeyFileOf(config);
  if (rootKey === undefined) return ok(`none yet; the first start makes ${file}`);
  if (config.rootKey !== undefined) return ok(`from ${nameOf("rootKey")}`, rootKey);
  if (config.rootKeyUrl !== undefined) return ok(`${rootKey.id} wraps and unwraps`, rootKey);
  const { mode } = await stat(file);
  if ((mode & 0o077) !== 0) return warn(`${file} can be read by other users: chmod 600 ${file}`, rootKey);
  return ok(file, rootKey);
}
