import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { openApiOf } from "#src/rest/openapi.ts";

/** The OpenAPI document of this repository's contracts, as it is committed. */
export function generateOpenApi(): string {
  const args = ["build", "--as-file-descriptor-set", "-o", "-#format=binpb"];
  const image = execFileSync("node_modules/.bin/buf", args, { maxBuffer: 64 * 1024 * 1024 });
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  const services = [...registry]
    .filter((type) => type.kind === "service")
    .filter((service) => service.typeName.startsWith("patchbay."))
    .sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  return `${JSON.stringify(openApiOf(services, version, registry.getEnum("patchbay.errors.v1.Reason")), null, 2)}\n`;
}

if (import.meta.main) writeFileSync("gen/openapi.json", generateOpenApi());
