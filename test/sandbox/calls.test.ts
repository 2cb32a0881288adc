import { afterAll, beforeAll, expect, test } from "bun:test";
import type { JsonObject } from "../../src/agent/json.ts";
import { systemClock } from "../../src/clock.ts";
import { EngramError } from "../../src/errors.ts";
import {
  type Harness,
  assemble,
  echoText,
  endlessFuel,
  importing,
  noLimits,
  openHarness,
  printing,
  spinText,
  startText,
} from "./harness.ts";
import { turnLimits } from "../../src/limits.ts";
import { nested } from "../support/events.ts";
import { withCustomSection } from "./module-bytes.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await openHarness();
  await harness.put("echo", echoText);
  await harness.put("spin", spinText);
});
afterAll(() => harness.close());

const call = (name: string, limits = {}, parameters: JsonObject | null = null) => ({
  name,
  inputJson: "{}",
  parameters,
  limits: { ...noLimits, ...limits },
});

test("the input comes as an argument and on stdin, as it was written", async () => {
  const input = `{"text": "h\u00e9 \u{1f600}",  "n":1.0}`;
  const { output, error } = await harness.run("echo", input);
  expect(error).toBeNull();
  expect(output).toBe(`echo|${input}|${input}|`);
});

test("no input at all is an empty object", async () => {
  expect((await harness.run("echo", "")).output).toBe("echo|{}|{}|");
});

test("input that is not one object is refused before anything runs", async () => {
  for (const input of ["{", "[]", "1", "null", `"{}"`, "{} {}"]) {
    const { error, fuelUsed } = await harness.run("echo", input);
    expect(error?.code).toBe("TOOL_INVALID_INPUT");
    expect(error?.message).toMatch(/JSON/);
    expect(fuelUsed).toBe(0);
  }
});

test("input of too many objects in one another is refused, and never the tool blamed for it", async () => {
  const { toolInputLevelsMax } = turnLimits;
  expect((await harness.run("echo", nested(toolInputLevelsMax))).error).toBeNull();
  for (const levels of [toolInputLevelsMax + 1, 40_000, 150_000]) {
    const { error } = await harness.run("echo", nested(levels));
    expect(error?.code).toBe("TOOL_INVALID_INPUT");
  }
});

test("input is held against the tool's schema, or the one that the agent's client gave", async () => {
  const parameters = {
    type: "object",
    properties: { count: { type: "integer", minimum: 1 }, unit: { enum: ["m", "km"] } },
    required: ["count"],
  };
  const module = await assemble(printing("ran"));
  await harness.put(
    "strict",
    withCustomSection(module, "engram.tool", JSON.stringify({ parameters })),
  );
  expect((await harness.run("strict", `{"count": 2, "unit": "km"}`)).output).toBe("ran");
  const missing = await harness.run("strict", `{"unit": "mile"}`);
  expect(missing.error?.code).toBe("TOOL_INVALID_INPUT");
  expect(missing.error?.message).toMatch(/count/);
  expect(missing.error?.message).toMatch(/unit/);
  const signal = new AbortController().signal;
  const given = await harness.sandbox.run(call("echo", {}, parameters), signal);
  expect(given.error?.code).toBe("TOOL_INVALID_INPUT");
});

test("a schema that cannot be used is not the model's fault", async () => {
  const signal = new AbortController().signal;
  const unknown = await harness.sandbox.run(
    call("echo", {}, { type: "object", $ref: "#/nowhere" }),
    signal,
  );
  expect(unknown.error?.code).toBe("TOOL_INVALID_MODULE");
  expect(unknown.error?.message).toMatch(/schema/);
});

test("a pattern that never ends holds its child for a while, and nothing else", async () => {
  // Ten seconds are allowed for it; this clock's are shorter.
  const hasty = await openHarness({
    clock: { ...systemClock, after: (ms, fn) => systemClock.after(ms / 40, fn) },
  });
  try {
    await hasty.put("echo", echoText);
    await hasty.sandbox.list();
    const inputJson = JSON.stringify({ text: `${"a".repeat(60)}!` });
    const parameters = { properties: { text: { pattern: "^(a|a)*$" } } };
    const slow = hasty.sandbox.run(
      { ...call("echo", {}, parameters), inputJson },
      new AbortController().signal,
    );
    expect((await hasty.run("echo")).error).toBeNull();
    expect((await slow).error?.code).toBe("TOOL_TIMEOUT");
  } finally {
    await hasty.close();
  }
});

test("an exit tells the last of stderr; what was printed is kept", async () => {
  await harness.put(
    "grumbler",
    `(module ${importing("fd_write", "proc_exit")} (memory (export "memory") 2)
      (data (i32.const 64) "printedno such city")
      (func $write (param i32 i32 i32) (i32.store (i32.const 0) (local.get 1))
        (i32.store (i32.const 4) (local.get 2))
        (drop (call $fd_write (local.get 0) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func (export "_start")
        (call $write (i32.const 1) (i32.const 64) (i32.const 7))
        (call $write (i32.const 2) (i32.const 256) (i32.const 100000))
        (call $write (i32.const 2) (i32.const 71) (i32.const 12))
        (call $proc_exit (i32.const 4))))`,
  );
  const { error, output } = await harness.run("grumbler");
  expect(error?.code).toBe("TOOL_EXITED");
  expect(error?.message).toMatch(/^the tool exited with code 4: /);
  expect(error?.message).toEndWith("no such city");
  expect(output).toBe("printed");
});

test("a message that is cut in the midst of a character is still text", async () => {
  const { error } = await harness.run("\u{1f600}".repeat(60).slice(0, 99) + "\u{1f600}");
  expect(error?.code).toBe("TOOL_NOT_FOUND");
  expect(error?.message.isWellFormed()).toBe(true);
});

test("the same call uses the same fuel in every child and at every compiler's tier", async () => {
  await harness.put(
    "work",
    startText(`(local i32) (loop $l (memory.fill (i32.const 0) (i32.const 1) (local.get 0))
      (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 50000))))`),
  );
  const runs = [1, 2, 3, 4, 5, 6].map(() => harness.run("work"));
  const fuel = (await Promise.all(runs)).map(({ fuelUsed }) => fuelUsed);
  expect(fuel[0]).toBeGreaterThan(50_000);
  expect(new Set(fuel).size).toBe(1);
  expect((await harness.run("work", "{}", { fuel: fuel[0] ?? 0 })).error).toBeNull();
  const starved = await harness.run("work", "{}", { fuel: (fuel[0] ?? 0) - 1 });
  expect(starved.error?.code).toBe("TOOL_OUT_OF_FUEL");
});

test("system calls cost a hundred and by what they move", async () => {
  // Entry, instructions and end of _start; the call; bytes.
  const costs: readonly (readonly [string, number])[] = [
    ["(drop (call $sched_yield))", 4 + 100],
    ["(drop (call $random_get (i32.const 0) (i32.const 500)))", 6 + 100 + 500],
    [
      "(drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))",
      8 + 100 + 250,
    ],
    ["(drop (call $fd_read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 0)))", 8 + 100 + 1],
    ["(drop (call $args_get (i32.const 0) (i32.const 64)))", 6 + 100 + 3],
  ];
  const imports = importing("sched_yield", "random_get", "fd_write", "fd_read", "args_get");
  for (const [code, cost] of costs) {
    // A buffer of 1000 bytes at 64, as the data says without an instruction.
    const data = `(data (i32.const 8) "\\40\\00\\00\\00\\e8\\03\\00\\00")`;
    await harness.put("caller", startText(code, imports, `(memory (export "memory") 1) ${data}`));
    const { error, fuelUsed } = await harness.run("caller");
    expect([code, error, fuelUsed]).toEqual([code, null, cost]);
  }
});

test("a tool that goes on past its time is ended at its next system call, not killed", async () => {
  const text = startText("(loop $l (drop (call $sched_yield)) (br $l))", importing("sched_yield"));
  await harness.put("polite", text);
  const { error, fuelUsed } = await harness.run("polite", "{}", { fuel: 1e11, timeoutMs: 20 });
  expect(error?.code).toBe("TOOL_TIMEOUT");
  expect(fuelUsed).toBeGreaterThan(0);
});

test("limits are the call's, else the tool's, else the engine's", async () => {
  const module = await assemble(spinText);
  const description = JSON.stringify({ limits: { fuel: 1000 } });
  await harness.put("frugal", withCustomSection(module, "engram.tool", description));
  expect((await harness.run("frugal")).fuelUsed).toBe(1000);
  expect((await harness.run("frugal", "{}", { fuel: 2000 })).fuelUsed).toBe(2000);
});

test("a tool that computes past its time is killed; others do not notice", async () => {
  const spinning = harness.run("spin", "{}", { fuel: endlessFuel, timeoutMs: 400 });
  let hasEnded = false;
  void spinning.then(() => (hasEnded = true));
  for (let i = 0; i < 5; i++) expect((await harness.run("echo")).error).toBeNull();
  expect(hasEnded).toBe(false);
  expect((await spinning).error).toEqual({
    code: "TOOL_TIMEOUT",
    message: "the tool did not finish within 400 ms",
  });
});

test("many calls of one tool that are aborted at once leave the sandbox as it was", async () => {
  const abort = new AbortController();
  const spinning = Array.from({ length: 40 }, () =>
    harness.sandbox.run(call("spin", { fuel: endlessFuel }), abort.signal).catch(() => "aborted"),
  );
  expect((await harness.run("echo")).error).toBeNull();
  abort.abort();
  expect(new Set(await Promise.all(spinning))).toEqual(new Set(["aborted"]));
  expect((await harness.run("echo")).error).toBeNull();
});

test("an abort throws its reason, before and in the midst of a run", async () => {
  const reason = new Error("enough");
  const early = harness.sandbox.run(call("spin"), AbortSignal.abort(reason));
  await expect(early).rejects.toBe(reason);
  const abort = new AbortController();
  const late = harness.sandbox.run(call("spin", { fuel: endlessFuel }), abort.signal);
  expect((await harness.run("echo")).error).toBeNull();
  abort.abort(reason);
  await expect(late).rejects.toBe(reason);
});

test("a closed sandbox runs nothing, and what ran ends as unavailable", async () => {
  const other = await openHarness();
  await other.put("spin", spinText);
  await other.sandbox.list();
  const running = other.run("spin", "{}", { fuel: endlessFuel });
  const ended = running.catch((error: unknown) => error);
  await other.sandbox.close();
  const later = await other.run("spin").catch((error: unknown) => error);
  for (const error of [await ended, later]) {
    expect(error).toBeInstanceOf(EngramError);
    expect(error).toMatchObject({ code: "unavailable" });
  }
  await other.close();
});

test("nothing of a call is left for the next one", async () => {
  await harness.put(
    "counter",
    startText(
      `(i32.store8 (i32.const 64) (i32.add (i32.load8_u (i32.const 64)) (i32.const 65)))
       (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1))
       (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))`,
      importing("fd_write"),
    ),
  );
  for (let i = 0; i < 3; i++) expect((await harness.run("counter")).output).toBe("A");
});
