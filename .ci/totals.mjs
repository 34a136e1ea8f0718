import { readFileSync } from "node:fs";

// Prints the totals of vitest's JSON reports, and fails unless every test passed.
const reports = process.argv.slice(2).map(read);
const sum = (name) => reports.reduce((total, report) => total + report[name], 0);
const [passed, failed, skipped] = [sum("passed"), sum("failed"), sum("skipped")];
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed === 0 && reports.every((report) => report.passed > 0) ? 0 : 1;

function read(file) {
  const text = readFileSync(file, "utf8");
  // The run broke before it could report, or was never begun.
  if (text === "") return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(text);
  // A file that breaks before its first test counts as one failure: vitest counts only tests.
  const broken = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && assertionResults.every((test) => test.status !== "failed"),
  ).length;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
