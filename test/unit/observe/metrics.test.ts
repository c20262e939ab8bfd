import { expect, test } from "vitest";
import { Registry } from "../../../src/observe/metrics.ts";

test("counters, histograms and gauges in the text format", () => {
  const registry = new Registry();
  const counter = registry.counter("c_total", "Things.", ["a", "b"]);
  const histogram = registry.histogram("h", "Sizes.", [1, 10], "kind");
  counter.add("x\ny");
  counter.add("x\ny", 2);
  counter.add('q"\\\nz');
  histogram.observe(1, "k");
  histogram.observe(7, "k");
  histogram.observe(70, "k");
  const text = registry.text([
    {
      name: "g",
      help: "Now.",
      samples: [
        { labels: {}, value: 4 },
        { labels: { at: "s\n" }, value: 0.5 },
      ],
    },
    { name: "o_total", help: "An object's own.", type: "counter", samples: [{ labels: { k: "1" }, value: 9 }] },
    {
      name: "r",
      help: "Read.",
      bounds: [0.5, 1],
      samples: [{ labels: { k: "1" }, counts: [2, 0, 3], sum: 12.5 }],
    },
  ]);
  expect(text.split("\n").filter((line) => !line.startsWith("# HELP"))).toEqual([
    "# TYPE c_total counter",
    'c_total{a="x",b="y"} 3',
    'c_total{a="q\\"\\\\",b="z"} 1',
    "# TYPE h histogram",
    'h_bucket{kind="k",le="1"} 1',
    'h_bucket{kind="k",le="10"} 2',
    'h_bucket{kind="k",le="+Inf"} 3',
    'h_sum{kind="k"} 78',
    'h_count{kind="k"} 3',
    "# TYPE g gauge",
    "g 4",
    'g{at="s\\n"} 0.5',
    "# TYPE o_total counter",
    'o_total{k="1"} 9',
    "# TYPE r histogram",
    'r_bucket{k="1",le="0.5"} 2',
    'r_bucket{k="1",le="1"} 2',
    'r_bucket{k="1",le="+Inf"} 5',
    'r_sum{k="1"} 12.5',
    'r_count{k="1"} 5',
    "",
  ]);
  expect(text).toMatch(/# HELP c_total Things\. Counted by the isolate/);
});
