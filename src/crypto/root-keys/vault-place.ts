import { isAbsolute } from "node:path";
import { requireSafe, type UrlParts } from "./url-parts.ts";

/** A key of the transit engine of HashiCorp Vault or OpenBao. */
export interface VaultPlace {
  readonly kind: "vault";
  /** The server's origin. */
  readonly address: string;
  readonly namespace: string | undefined;
  /** Where the transit engine is. */
  readonly mount: string;
  readonly key: string;
  readonly auth: VaultAuth;
}

/** How the service gets the token that it presents to Vault. Secrets are in files, which may be replaced at any time. */
export type VaultAuth =
  /** An agent on the same machine adds it. */
  | { readonly method: "agent" }
  | { readonly method: "token"; readonly file: string | undefined }
  | {
      readonly method: "approle";
      readonly mount: string;
      readonly roleId: string;
      readonly secretIdFile: string;
    }
  | {
      readonly method: "kubernetes";
      readonly mount: string;
      readonly role: string;
      readonly jwtFile: string;
    };

const parameters = {
  agent: [],
  token: ["token_file"],
  approle: ["role_id", "secret_id_file", "auth_mount"],
  kubernetes: ["role", "jwt_file", "auth_mount"],
} as const;

const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** Reads `https://HOST[:PORT]/MOUNT/KEY?…`. */
export function readVault(parts: UrlParts): VaultPlace {
  requireSafe(parts.url);
  const segments = parts.path.split("/");
  const key = segments.pop() ?? "";
  const mount = segments.join("/");
  if (!isPath(mount) || !isName(key)) {
    throw new Error(
      "give vault+https://HOST:8200/MOUNT/KEY, the mount of the transit engine and the key's name, " +
        "such as vault+https://vault.internal:8200/transit/patchbay",
    );
  }
  const namespace = parts.take("namespace");
  if (namespace !== undefined && !isPath(namespace))
    throw new Error("give a namespace such as team/payments");
  return { kind: "vault", address: parts.url.origin, namespace, mount, key, auth: readAuth(parts) };
}

function readAuth(parts: UrlParts): VaultAuth {
  const method = parts.take("auth") ?? "token";
  if (!isMethod(method)) {
    throw new Error(`give as auth one of ${Object.keys(parameters).join(", ")}`);
  }
  const auth = authBy(method, parts);
  parts.finish(["namespace", "auth", ...parameters[method]]);
  return auth;
}

function isMethod(text: string): text is VaultAuth["method"] {
  return Object.hasOwn(parameters, text);
}

function authBy(method: VaultAuth["method"], parts: UrlParts): VaultAuth {
  switch (method) {
    case "agent":
      return { method };
    case "token":
      return { method, file: fileOf(parts, "token_file") };
    case "approle": {
      const roleId = parts.take("role_id");
      const secretIdFile = fileOf(parts, "secret_id_file");
      if (roleId === undefined || secretIdFile === undefined) {
        throw new Error("give role_id and secret_id_file with auth=approle");
      }
      return { method, mount: mountOf(parts, method), roleId, secretIdFile };
    }
    case "kubernetes": {
      const role = parts.take("role");
      if (role === undefined) throw new Error("give role with auth=kubernetes");
      const jwtFile = fileOf(parts, "jwt_file") ?? serviceAccountToken;
      return { method, mount: mountOf(parts, method), role, jwtFile };
    }
  }
}

/** Whole paths only: what a relative one means would depend on where the service was started. */
function fileOf(parts: UrlParts, name: string): string | undefined {
  const file = parts.take(name);
  if (file === undefined || isAbsolute(file)) return file;
  throw new Error(`give ${name} as a whole path, such as /run/secrets/vault`);
}

function mountOf(parts: UrlParts, method: string): string {
  const mount = parts.take("auth_mount") ?? method;
  if (isPath(mount)) return mount;
  throw new Error("give auth_mount as Vault lists it, such as approle");
}

/** What needs no encoding in a path, and is no way out of it. */
function isName(text: string): boolean {
  return /^\w[\w.-]{0,127}$/.test(text);
}

function isPath(text: string): boolean {
  return text.length <= 256 && text.split("/").every(isName);
}
