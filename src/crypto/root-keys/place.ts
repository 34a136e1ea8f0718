import { endpointOf, readParts, type UrlParts } from "./url-parts.ts";
import { readVault, type VaultPlace } from "./vault-place.ts";

/** Where a root key is kept that never leaves its key management service. */
export type RootKeyPlace = AwsPlace | GcpPlace | VaultPlace;

/** A key of AWS KMS. */
export interface AwsPlace {
  readonly kind: "awskms";
  /** An ARN, an alias or a key id. */
  readonly key: string;
  /** Undefined for the region that the environment of the SDK names. */
  readonly region: string | undefined;
  readonly endpoint: URL | undefined;
}

/** A key of Google Cloud KMS. */
export interface GcpPlace {
  readonly kind: "gcpkms";
  /** The resource name. */
  readonly key: string;
  readonly endpoint: URL | undefined;
}

/** Reads the URL of a root key. The error says what to give, and repeats nothing: the URL may hold a password. */
export function parseRootKeyUrl(text: string): RootKeyPlace {
  if (/^awskms:/i.test(text)) return readAws(readParts(text));
  if (/^gcpkms:/i.test(text)) return readGcp(readParts(text));
  // What follows is a URL that `URL` knows the rules of.
  if (/^vault\+https?:/i.test(text)) return readVault(readParts(text.slice("vault+".length)));
  throw new Error(
    "give a URL that begins with awskms:///, gcpkms://projects/ or vault+https://, as docs/root-keys.md shows",
  );
}

const awsArn = /^arn:aws[\w-]*:kms:(?<region>[\w-]+):\d{12}:(?:key\/[\w-]{1,256}|alias\/[\w/-]{1,250})$/;

function readAws(parts: UrlParts): AwsPlace {
  const { url, path: key } = parts;
  const region = parts.take("region");
  const endpoint = endpointOf(parts);
  parts.finish(["region", "endpoint"]);
  const regionOfKey = awsArn.exec(key)?.groups?.["region"];
  if (
    url.host !== "" ||
    (regionOfKey === undefined && !/^(?:alias\/[\w/-]{1,250}|[\w-]{1,256})$/.test(key))
  ) {
    throw new Error(
      "give awskms:/// (three slashes) and the key's ARN, alias/NAME or id, " +
        "such as awskms:///alias/patchbay?region=eu-central-1",
    );
  }
  if (region !== undefined && !/^[a-z]{2}[a-z-]{1,20}-\d{1,2}$/.test(region)) {
    throw new Error("give a region such as eu-central-1");
  }
  if (region !== undefined && regionOfKey !== undefined && region !== regionOfKey) {
    throw new Error(`region is ${region}, and the key's ARN names ${regionOfKey}: leave it out`);
  }
  return { kind: "awskms", key, region: region ?? regionOfKey, endpoint };
}

function readGcp(parts: UrlParts): GcpPlace {
  const endpoint = endpointOf(parts);
  parts.finish(["endpoint"]);
  const key = `${parts.url.host}/${parts.path}`;
  if (!/^projects\/[\w.:-]+\/locations\/[\w-]+\/keyRings\/[\w-]+\/cryptoKeys\/[\w-]+$/.test(key)) {
    throw new Error(
      "give gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version: " +
        "the service takes the key's primary one",
    );
  }
  return { kind: "gcpkms", key, endpoint };
}
