import { registerHooks } from "node:module";
import { argv } from "node:process";

// Imports web.ts as a browser's bundler would: with its conditions, without Node's modules and globals.
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, { ...context, conditions: ["browser", "import", "default"] });
    if (resolved.url.startsWith("node:")) throw new Error(`${context.parentURL} imports ${specifier}`);
    return resolved;
  },
});
for (const name of ["process", "Buffer", "global", "setImmediate"]) {
  const value = globalThis[name];
  // Node's own fetch goes on using them.
  const get = () => (new Error().stack.split("\n")[2].includes("node:internal") ? value : undefined);
  Object.defineProperty(globalThis, name, { get });
}

const { run } = await import("./web.ts");
console.log(JSON.stringify(await run(argv[2], argv[3])));
