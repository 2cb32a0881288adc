import { expect, test } from "bun:test";
import { toolCeilings } from "../../src/limits.ts";
import { resolveLimits } from "../../src/sandbox/metadata.ts";

const none = { fuel: 0, memoryBytes: 0, timeoutMs: 0, outputBytesMax: 0 };
const engine = { fuel: 1, memoryBytes: 2, timeoutMs: 3, outputBytesMax: 4 };

test.each(["fuel", "memoryBytes", "timeoutMs", "outputBytesMax"] as const)(
  "of %s the first that asks for any has its way, up to the engine's ceiling",
  (limit) => {
    const resolved = (...wishes: readonly number[]) =>
      resolveLimits(...wishes.map((wish) => ({ ...none, [limit]: wish })), engine);
    expect(resolved(7, 8)).toEqual({ ...engine, [limit]: 7 });
    expect(resolved(0, 8)).toEqual({ ...engine, [limit]: 8 });
    expect(resolved(0, 0)).toEqual(engine);
    const beyond = toolCeilings[limit] + 1;
    expect(resolved(beyond, 8)).toEqual({ ...engine, [limit]: toolCeilings[limit] });
  },
);
