import type { DescService } from "@bufbuild/protobuf";
import type { ServedService } from "#src/platform/served-service.ts";

/** The contracts with all of their code, whichever features it is of. Throws one error that names every fault. */
export function joinServices(
  contracts: readonly DescService[],
  served: readonly ServedService[],
): readonly ServedService[] {
  const strangers = served.filter(({ desc }) => !contracts.includes(desc));
  const faults = strangers.map(({ desc }) => `${desc.typeName} is served, and stands in no list of services`);
  const services = contracts.map((desc) => {
    const parts = served.filter((part) => part.desc === desc);
    for (const { name, localName } of desc.methods) {
      const handlers = parts.filter(({ impl }) => typeof impl[localName] === "function").length;
      if (handlers !== 1) faults.push(`${desc.typeName}/${name} has ${handlers} handlers, and needs one`);
    }
    return { desc, impl: Object.assign({}, ...parts.map(({ impl }) => impl)) as ServedService["impl"] };
  });
  if (faults.length > 0) throw new Error(`the service is not whole:\n- ${faults.join("\n- ")}`);
  return services;
}
