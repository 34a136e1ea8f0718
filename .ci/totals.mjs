import { readFileSync } from "node:fs";

// Prints the totals of vitest's JSON report, and fails unless every test passed.
const text = readFileSync(process.argv[2], "utf8");
if (text === "") {
  console.log("0 passed, 1 failed");
  process.exit(1);
}
const report = JSON.parse(text);
// A file that breaks before its first test counts as one failure: vitest counts only tests.
const broken = report.testResults.filter(
  ({ status, assertionResults }) =>
    status === "failed" && assertionResults.every((test) => test.status !== "failed"),
).length;
const failed = report.numFailedTests + broken;
const skipped = report.numPendingTests + report.numTodoTests;
console.log(`${report.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed === 0 && report.numPassedTests > 0 ? 0 : 1;
