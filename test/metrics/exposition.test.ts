import { expect, test } from "bun:test";
import { parseExposition } from "../support/exposition.ts";

const histogram = (...lines: readonly string[]): string =>
  ["# HELP h_seconds h", "# TYPE h_seconds histogram", ...lines, ""].join("\n");

test("a scrape is read", () => {
  const text = `# HELP a_total how many
# TYPE a_total counter
a_total{x="1",y="a\\"b,}"} 2
a_total{x="2",y=""} 3.5e3

${histogram('h_seconds_bucket{le="1"} 1', 'h_seconds_bucket{le="+Inf"} 2', "h_seconds_sum 5", "h_seconds_count 2")}`;
  const found = parseExposition(text);
  expect(found.value("a_total", { y: 'a\\"b,}', x: "1" })).toBe(2);
  expect(found.value("a_total", { x: "1" })).toBeNull();
  expect(found.sum("a_total", { x: "1" })).toBe(2);
  expect(found.sum("a_total")).toBe(3502);
  expect(found.value("h_seconds_count")).toBe(2);
  expect(found.names).toEqual(["a_total", "h_seconds"]);
});

test.each([
  ["# HELP a a\n# TYPE a gauge\na 1", "the last line has no end"],
  ["a 1\n", "a stands under nothing"],
  ["# TYPE a gauge\na 1\n", "a has no help"],
  ["# HELP a a\n# TYPE a summary\n", "a is a summary"],
  ["# HELP a a\n# TYPE a gauge\nb 1\n", "b stands under a"],
  ["# HELP a a\n# TYPE a gauge\na 1\na 2\n", "a has a sample twice"],
  ["# HELP a a\n# TYPE a gauge\na{x=1} 1\n", "its labels are wrong"],
  ['# HELP a a\n# TYPE a gauge\na{x="1" y="2"} 1\n', "its labels are wrong"],
  ["# HELP a a\n# TYPE a gauge\na NaN\n", "this is no sample"],
  ["# HELP a a\n# TYPE a gauge\na\n", "this is no sample"],
  ["# HELP a a\n# TYPE a counter\na 1\n", "a is no name"],
  ["# HELP a_total a\n# TYPE a_total counter\na_total -1\n", "a_total is below zero"],
  ["# HELP a a\n# TYPE a gauge\na 1\n# HELP a a\n", "a comes twice"],
  [
    histogram('h_seconds_bucket{le="1"} 3', 'h_seconds_bucket{le="+Inf"} 2', "h_seconds_count 2"),
    "the buckets of h_seconds do not rise",
  ],
  [histogram('h_seconds_bucket{le="1"} 2', "h_seconds_count 2"), "do not rise"],
  [histogram('h_seconds_bucket{le="+Inf"} 2', "h_seconds_count 3"), "otherwise than its buckets"],
])("%j is refused", (text, why) => {
  expect(() => parseExposition(text)).toThrow(why);
});
