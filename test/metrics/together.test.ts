import { expect, test } from "vitest";
import { createMetrics, type Metrics } from "#src/metrics/metrics.ts";
import { createMeasurements } from "#src/workers/measurements.ts";

/** What one worker measures. */
function worker() {
  const metrics = createMetrics();
  const count = metrics.counter({ name: "calls_total", help: "Calls.", labels: ["code"] });
  const time = metrics.duration({ name: "call_seconds", help: "Time.", labels: [] });
  let waiting = 0;
  metrics.gauge({ name: "waiting", help: "Calls that wait.", read: () => waiting });
  metrics.gauge({ name: "lag_seconds", help: "The oldest.", ofWorkers: "max", read: () => waiting });
  return {
    metrics,
    call(code: string) {
      count({ code });
      time({}, 0.02);
    },
    wait: (calls: number) => (waiting = calls),
  };
}

async function shown(measurements: ReturnType<typeof createMeasurements>, own: Metrics): Promise<string[]> {
  const { text } = await measurements.render(await own.measure());
  return text.split("\n").filter((line) => /^(calls_total|call_seconds_count|call_seconds_bucket\{le="0.025"|waiting|lag_seconds)/.test(line)); // prettier-ignore
}

test("counts, times and gauges of all workers are added up, or the worst one shown, and an ended worker takes none of its counts away", async () => {
  const [one, two] = [worker(), worker()];
  const own = createMetrics();
  const measurements = createMeasurements();
  for (const code of ["ok", "ok", "late"]) one.call(code);
  two.call("ok");
  one.wait(2);
  two.wait(3);
  measurements.measured(1, await one.metrics.measure());
  measurements.measured(2, await two.metrics.measure());
  const counts = ['calls_total{code="ok"} 3', 'calls_total{code="late"} 1', 'call_seconds_bucket{le="0.025"} 4', "call_seconds_count 4"]; // prettier-ignore
  expect(await shown(measurements, own)).toStrictEqual(
    expect.arrayContaining([...counts, "waiting 5", "lag_seconds 3"]),
  );

  measurements.ended(1);
  expect(await shown(measurements, own)).toStrictEqual(expect.arrayContaining([...counts, "waiting 3"]));
  // Its successor begins at nothing.
  const three = worker();
  three.call("ok");
  measurements.measured(3, await three.metrics.measure());
  measurements.ended(2);
  const later = await shown(measurements, own);
  expect(later).toContain('calls_total{code="ok"} 4');
  expect(later).toContain("call_seconds_count 5");
});
