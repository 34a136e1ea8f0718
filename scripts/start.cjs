"use strict";
// `npm start`. CommonJS and old syntax on purpose: without the development packages, this runs on whatever Node there is.
var fs = require("fs");
var path = require("path");

var packages = path.join(__dirname, "../node_modules");
if (!fs.existsSync(path.join(packages, "commander"))) {
  console.error("patchbay: npm start needs the packages for development as well: run `npm ci --include=dev`");
  process.exit(1);
}
// What Node makes of the sources: without it, a start strips their types again, with a compiler of 20 MB. Where the
// folder cannot be written, Node goes without.
require("module").enableCompileCache(path.join(packages, ".cache/node"));
void import("../src/main.ts");
