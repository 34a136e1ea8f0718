import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Page } from "./page.ts";
import type { OpenRoute } from "./open-route.ts";
import type { RawRoute } from "./raw-route.ts";

/** A contract, and the code of some or all of its methods. */
export interface ServedService {
  readonly desc: DescService;
  readonly impl: Readonly<Record<string, unknown>>;
}

/** Pairs a contract with code of its shape. A feature may serve a part of it; the start fails if a method is missing. */
export function serve<Desc extends DescService>(desc: Desc, impl: Partial<ServiceImpl<Desc>>): ServedService {
  return { desc, impl };
}

/** What a part of the service adds to it. */
export interface Feature {
  readonly services: readonly ServedService[];
  readonly rawRoutes?: readonly RawRoute[];
  /** The gate does not stand before these. */
  readonly openRoutes?: readonly OpenRoute[];
  /** What it offers to browsers, by path. */
  readonly pages?: ReadonlyMap<string, Page>;
  /** Writes what is still in memory, and closes what is still open. */
  close?(): Promise<void>;
}
