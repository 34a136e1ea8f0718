import { rm } from "node:fs/promises";
import { filesBelow, publishCode } from "./published-code.ts";

// Fills dist/ with what the published service runs. The clients are a package of their own: compile-clients.ts.

await rm("dist", { recursive: true, force: true });
const files = filesBelow("src", "dist").filter(({ from }) => !from.startsWith("src/client/"));
await publishCode(files, { "#src": "dist", "#gen": "gen" });
