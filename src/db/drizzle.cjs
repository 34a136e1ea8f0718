// CommonJS on purpose: as ES modules, drizzle's hundred files have Node read and parse their package.json of 178 kB
// for each of them, which takes 0.4 s of a start and leaves 100 MB of memory with the process.
module.exports = {
  ...require("drizzle-orm"),
  ...require("drizzle-orm/pg-core"),
  ...require("drizzle-orm/postgres-js/session"),
};
