import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";

/** A contract and the code that serves it. */
export interface ServedService {
  readonly desc: DescService;
  readonly impl: Readonly<Record<string, unknown>>;
}

/** Pairs a contract with code of exactly its shape. */
export function serve<Desc extends DescService>(desc: Desc, impl: ServiceImpl<Desc>): ServedService {
  return { desc, impl };
}
