import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ToolErrorCode, ToolLimits } from "../../src/agent/event.ts";
import { type Harness, openHarness } from "./harness.ts";

/** What a call ends with: an error's code, or "ok". */
export type Expected =
  | ToolErrorCode
  | "ok"
  | { readonly code: ToolErrorCode; readonly message: RegExp };

export type Case = readonly [
  title: string,
  module: string | Uint8Array,
  expected: Expected,
  limits?: Partial<ToolLimits>,
];

/** Enough for every loop to be compiled at the highest tier; a second's worth would only take longer. */
const fuelDefault = 20_000_000;

/** For what ends by its fuel: on a machine that is busy with other things some take longer than a call may by default. */
const patientMs = 60_000;

/** A hostile tool must not hold the engine's event loop for longer. */
const heldMsMax = 50;

/** Measures turns of the event loop by what this process computes in them: another's load is not its fault. */
const watchTurns = (): { longestMs(): number } => {
  let longestMs = 0;
  let isOver = false;
  let before = process.cpuUsage();
  const turn = (): void => {
    const { user, system } = process.cpuUsage(before);
    before = process.cpuUsage();
    longestMs = Math.max(longestMs, (user + system) / 1000);
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  return {
    longestMs: () => {
      isOver = true;
      return longestMs;
    },
  };
};

export const exits = (code: number): Expected => ({
  code: "TOOL_EXITED",
  message: new RegExp(`exited with code ${code}$`),
});

export const refused = (message: RegExp): Expected => ({ code: "TOOL_INVALID_MODULE", message });

const expectCase = async (harness: Harness, one: Case): Promise<void> => {
  const [title, module, expected, limits] = one;
  const name = title.replaceAll(/[^A-Za-z0-9]+/g, "_").slice(0, 60);
  await harness.put(name, module);
  const fuel = limits?.fuel ?? fuelDefault;
  const patience = expected === "TOOL_OUT_OF_FUEL" ? { timeoutMs: patientMs } : {};
  const turns = watchTurns();
  const { error, fuelUsed } = await harness.run(name, "{}", { ...patience, ...limits, fuel });
  expect(turns.longestMs()).toBeLessThan(heldMsMax);
  const code = error?.code ?? "ok";
  expect(`${code} ${error?.message ?? ""}`).toStartWith(
    typeof expected === "string" ? expected : expected.code,
  );
  if (typeof expected === "object") expect(error?.message).toMatch(expected.message);
  if (code === "TOOL_OUT_OF_FUEL") expect(fuelUsed).toBe(fuel);
};

/** One test per case, in a sandbox of their own; must be called once per file. */
export const suite = (cases: readonly Case[]): void => {
  let harness: Harness;
  beforeAll(async () => {
    harness = await openHarness();
  });
  afterAll(() => harness.close());
  for (const one of cases) test(one[0], () => expectCase(harness, one));
};
