#!/usr/bin/env node
"use strict";
// CommonJS and old syntax on purpose: an old Node must get far enough to say what it lacks.
var wanted = require("../package.json").engines.node.match(/\d+/g).map(Number);
var found = process.versions.node.split(".").map(Number);
if (found[0] < wanted[0] || (found[0] === wanted[0] && found[1] < wanted[1])) {
  console.error(
    "patchbay needs Node " +
      wanted.join(".") +
      " or newer, and this is " +
      process.version +
      ".\n" +
      "Install it from https://nodejs.org/ or with your version manager, for example: nvm install " +
      wanted[0],
  );
  process.exit(1);
}
import("../dist/service/main.js");
