import { existsSync, globSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Removes the generated files that no code in `users` imports, directly or by another one. */
export async function removeUnused(generated: string, users: string): Promise<void> {
  const used = new Set<string>();
  const open = globSync(`${users}/**/*.{js,d.ts}`);
  for (const file of open) {
    for (const path of await importsOf(file)) {
      // What JavaScript imports has its declarations beside it, and those import more.
      for (const one of [path, path.replace(/\.js$/, ".d.ts")]) {
        if (used.has(one) || !existsSync(one)) continue;
        used.add(one);
        open.push(one);
      }
    }
  }
  for (const file of globSync(`${generated}/**/*.*`)) if (!used.has(file)) await rm(file);
}

async function importsOf(file: string): Promise<string[]> {
  const imports = (await readFile(file, "utf8")).matchAll(/(?:\bfrom |\bimport |\bimport\()"(\.[^"]+)"/g);
  return [...imports].map(([, path = ""]) => join(dirname(file), path));
}

/**
 * Writes descriptors as text instead of base64, in which no name looks the same twice: a page that loads the clients
 * gets them compressed, and this saves a tenth of it.
 */
export async function compactDescriptors(generated: string): Promise<void> {
  for (const file of globSync(`${generated}/**/*_pb.js`)) {
    const code = await readFile(file, "utf8");
    const compact = code.replace(
      /fileDesc\("([^"]+)"/,
      (_, base64: string) => `fileDesc(/*@__PURE__*/ btoa("${escaped(Buffer.from(base64, "base64"))}")`,
    );
    if (compact === code) throw new Error(`${file} has no descriptor; protoc-gen-es writes another form now`);
    await writeFile(file, compact);
  }
}

/** The bytes in a literal of ASCII alone, so that it is the same in whatever encoding a page is read. */
function escaped(bytes: Buffer): string {
  return bytes
    .toString("latin1")
    .replace(/["\\]/g, "\\$&")
    .replace(/[^ -~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
