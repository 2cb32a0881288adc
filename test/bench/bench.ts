/**
 * Measures what the goals for speed and size are about: `bun run bench [--strict] [group...]`. Figures of one table come
 * from one run, side by side. With `--strict` a goal that is missed, or could not be measured, makes the exit code 1.
 */
import { availableParallelism, cpus } from "node:os";

import { benchAgents } from "./agents/agents-group.ts";
import { benchFleet } from "./fleet/fleet-group.ts";
import { benchHostile } from "./hostile/hostile-group.ts";
import { type Report, openReport } from "./report.ts";
import { benchSandbox } from "./sandbox/sandbox-group.ts";
import { benchServer } from "./server/server-group.ts";

const groups: ReadonlyMap<string, (report: Report) => Promise<void>> = new Map([
  ["sandbox", benchSandbox],
  ["agents", benchAgents],
  ["fleet", benchFleet],
  ["server", benchServer],
  ["hostile", benchHostile],
]);

const words = Bun.argv.slice(2);
const isStrict = words.includes("--strict");
const wanted = words.filter((word) => word !== "--strict" && word !== "--");
const unknown = wanted.filter((word) => !groups.has(word));
if (unknown.length > 0) {
  console.error(`no group ${unknown.join(", ")}; there are: ${[...groups.keys()].join(", ")}`);
  process.exit(2);
}

const report = openReport();
report.line(
  `Bun ${Bun.version}, ${process.platform} ${process.arch}, ${cpus()[0]?.model.trim() ?? "unknown processor"}, ` +
    `${availableParallelism()} cores\n`,
);
for (const [name, run] of groups) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  report.line(`${name}\n`);
  await run(report);
}
const { unmet } = report;
report.line(unmet.length === 0 ? "\nall goals are met" : `\n${unmet.length} goals are not met`);
process.exitCode = isStrict && unmet.length > 0 ? 1 : 0;
