import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { engineEntry } from "./engine-entry.ts";
import {
  type Harness,
  endlessFuel,
  importing,
  moduleText,
  openHarness,
  printing,
  spinText,
} from "./harness.ts";
import { moduleBytes, repeated } from "./module-bytes.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
  await harness.put("spin", spinText);
});
afterAll(() => harness.close());

const isLinux = process.platform === "linux";

/** The state of a process as the kernel has it; null: there is none. */
const stateOf = (pid: number): string | null => {
  try {
    return /^\d+ \(.*\) (\w)/s.exec(readFileSync(`/proc/${pid}/stat`, "latin1"))?.[1] ?? null;
  } catch {
    return null;
  }
};

const cpuTicks = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /s, "")
    .split(" ");
  return Number(fields[11]);
};

const childrenOf = (pid: number): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1")
    .split(" ")
    .filter(Boolean)
    .map(Number);

/** The kernel sends no word about someone else's process, so this has to look again and again. */
const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await Bun.sleep(5);
};

test.skipIf(!isLinux)("a computing child does not outlive an engine that is killed", async () => {
  const engine = Bun.spawn(
    [process.execPath, engineEntry, harness.toolsPath, harness.cacheDir, "spin"],
    { stdin: "ignore", stdout: "ignore", stderr: "inherit" },
  );
  let spinning: number | undefined;
  await until(() => {
    spinning = childrenOf(engine.pid).find((pid) => cpuTicks(pid) > 20);
    return spinning !== undefined;
  });
  engine.kill("SIGKILL");
  await engine.exited;
  await until(() => ["Z", "X", null].includes(stateOf(spinning ?? 0)));
});

test.skipIf(!isLinux)("a signal to the whole group of processes leaves a call alone", async () => {
  const calling = harness.run("spin", "{}", { fuel: 3_000_000_000 });
  let spinning: number | undefined;
  await until(() => {
    spinning = childrenOf(process.pid).find((pid) => stateOf(pid) === "R" && cpuTicks(pid) > 5);
    return spinning !== undefined;
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.kill(spinning ?? 0, signal);
  }
  expect((await calling).error?.code).toBe("TOOL_OUT_OF_FUEL");
});

test.skipIf(!isLinux)(
  "a file that changes during a call is another tool's, from the next call on",
  async () => {
    const text = (words: string): string =>
      moduleText(
        `(data (i32.const 64) "${words}") (func (export "_start") (local $rounds i32)
        (loop $l
          (local.set $rounds (i32.add (local.get $rounds) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $rounds) (i32.const 1500000000))))
        (i32.store (i32.const 16) (i32.const 64)) (i32.store (i32.const 20) (i32.const 3))
        (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8))))`,
        importing("fd_write"),
      );
    await harness.put("changing", text("old"));
    const calling = harness.run("changing", "{}", { fuel: endlessFuel });
    await until(() =>
      childrenOf(process.pid).some((pid) => stateOf(pid) === "R" && cpuTicks(pid) > 5),
    );
    await harness.put("changing", printing("new"));
    expect((await calling).output).toBe("old");
    expect((await harness.run("changing")).output).toBe("new");
  },
);

test("a new file is metered before anyone asks for it", async () => {
  const known = (await readdir(harness.cacheDir)).length;
  await harness.put("early", printing("early"));
  while ((await readdir(harness.cacheDir)).length === known) await Bun.sleep(5);
});

test("checking and metering a large module costs the engine no time of its own", async () => {
  const large = moduleBytes([...repeated(650_000, [0x41, 0, 0x1a]), 0x0b]);
  await harness.put("large", large);
  const before = process.cpuUsage();
  expect((await harness.run("large")).error).toBeNull();
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(50);
});

test("while tools compute, the engine's own time stands still", async () => {
  const calls = [1, 2].map(() => harness.run("spin", "{}", { fuel: endlessFuel, timeoutMs: 300 }));
  const before = process.cpuUsage();
  for (const { error } of await Promise.all(calls)) expect(error?.code).toBe("TOOL_TIMEOUT");
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(50);
});
