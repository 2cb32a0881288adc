import { expect, test } from "bun:test";
import { meter } from "../../src/sandbox/meter/meter.ts";
import { limitMemory } from "../../src/sandbox/meter/metered.ts";
import { ModuleRefused } from "../../src/sandbox/meter/refusal.ts";
import { hostExport } from "../../src/sandbox/meter/shape.ts";
import { assemble, moduleText } from "./harness.ts";
import { type Features, type Random, seeded } from "./random-body.ts";
import { randomModule } from "./random-module.ts";

type Running = {
  readonly call: (name: string, a: number, b: number) => number;
  readonly steps: WebAssembly.Global;
  readonly memory: WebAssembly.Memory;
  readonly fuelGet: () => bigint;
  readonly fuelSet: (fuel: bigint) => void;
};

const plentyOfFuel = 2n ** 50n;
const pagesMax = 64;
const stepsMax = 2000;

const start = (bytes: Uint8Array<ArrayBuffer>): Running => {
  const exports = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as Record<
    string,
    unknown
  >;
  const fuel = exports["fuel"] as WebAssembly.Global | undefined;
  return {
    call: (name, a, b) => (exports[name] as (a: number, b: number) => number)(a, b),
    steps: exports["steps"] as WebAssembly.Global,
    memory: exports["memory"] as WebAssembly.Memory,
    fuelGet: () => fuel?.value ?? (exports[hostExport.fuelGet] as () => bigint)(),
    fuelSet: (value) => {
      if (fuel !== undefined) fuel.value = value;
      else (exports[hostExport.fuelSet] as (value: bigint) => void)(value);
    },
  };
};

/** What a call did: what it gave or how it failed, and what it left behind. */
const observe = (running: Running, name: string, a: number, b: number): string => {
  running.steps.value = stepsMax;
  let result: string;
  try {
    result = String(running.call(name, a, b));
  } catch (error) {
    result = error instanceof Error ? error.constructor.name : "thrown";
  }
  return [result, running.steps.value, Bun.hash(new Uint8Array(running.memory.buffer))].join(" ");
};

const usedBy = (running: Running, work: () => string): { seen: string; used: bigint } => {
  running.fuelSet(plentyOfFuel);
  const seen = work();
  return { seen, used: plentyOfFuel - running.fuelGet() };
};

const meteredBytes = (plain: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => {
  const metered = meter(plain);
  const bytes = new Uint8Array(metered.bytes);
  limitMemory({ ...metered, bytes }, pagesMax);
  return bytes;
};

type Compared = { readonly used: bigint; readonly wanted: bigint; readonly hasFailed: boolean };

/** Calls every function of a random module in its three forms and holds what they do against each other. */
const compare = (random: Random, features: Features): readonly Compared[] => {
  const { plain, oracle, functions } = randomModule(random, features);
  const all: Compared[] = [];
  const metered = meteredBytes(plain);
  const running = { plain: start(plain), oracle: start(oracle), metered: start(metered) };
  for (const name of functions) {
    const a = Math.floor(random() * 1000) - 500;
    const b = Math.floor(random() * 10);
    const seen = observe(running.plain, name, a, b);
    // The stack's depth differs between the forms; nothing can be said of what follows.
    if (seen.startsWith("RangeError")) break;
    const wanted = usedBy(running.oracle, () => observe(running.oracle, name, a, b));
    const got = usedBy(running.metered, () => observe(running.metered, name, a, b));
    expect(wanted.seen).toBe(seen);
    expect(got.seen).toBe(seen);
    const hasFailed = !/^-?\d/.test(seen);
    all.push({ used: got.used, wanted: wanted.used, hasFailed });
    if (hasFailed || got.used < 8n) continue;
    const starved = start(metered);
    starved.fuelSet((got.used * 3n) / 8n);
    const again = start(metered);
    const { used } = usedBy(again, () => observe(again, name, a, b));
    observe(starved, name, a, b);
    if (used > (got.used * 3n) / 8n) expect(starved.fuelGet()).toBeLessThan(0n);
  }
  return all;
};

const flag = (random: Random): boolean => random() < 0.5;
const modules = 150;

test("metered modules do what they did, and count every instruction that runs", () => {
  let calls = 0;
  for (let seed = 1; seed <= modules; seed++) {
    const random = seeded(seed);
    const features = {
      exceptions: false,
      tailCalls: flag(random),
      loopParameters: flag(random),
      hidden: false,
    };
    for (const { used, wanted, hasFailed } of compare(random, features)) {
      calls++;
      if (!hasFailed) expect(`seed ${seed}: ${used}`).toBe(`seed ${seed}: ${wanted}`);
    }
  }
  expect(calls).toBeGreaterThan(modules);
});

test("functions that their callers pay for, and exceptions, never make a run cheaper", () => {
  let calls = 0;
  for (let seed = 1; seed <= modules; seed++) {
    const random = seeded(100_000 + seed);
    const features = {
      exceptions: flag(random),
      tailCalls: flag(random),
      loopParameters: flag(random),
      hidden: true,
    };
    for (const { used, wanted, hasFailed } of compare(random, features)) {
      calls++;
      if (!hasFailed && used < wanted) throw new Error(`seed ${seed}: ${used} of ${wanted}`);
    }
  }
  expect(calls).toBeGreaterThan(modules);
});

test("a deep stack that unwinds without fuel does not go on for long", async () => {
  // A body too long to be charged unchecked, which counts what it does; 2000 frames of it wait.
  const rounds = 12_000;
  const work = "(global.set $work (i32.add (global.get $work) (i32.const 1)))".repeat(rounds);
  const text = moduleText(`(global $work (export "work") (mut i32) (i32.const 0))
    (func $f (export "f") (param i32)
      (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))
      (if (local.get 0) (then ${work})))
    (func (export "_start"))`);
  const metered = meter(await assemble(text));
  const { exports } = new WebAssembly.Instance(
    new WebAssembly.Module(new Uint8Array(metered.bytes)),
  );
  const f = exports["f"] as (depth: number) => void;
  (exports[hostExport.fuelSet] as (fuel: bigint) => void)(100_000n);
  expect(() => f(2000)).toThrow();
  expect((exports["work"] as WebAssembly.Global).value).toBeLessThanOrEqual(rounds * 2);
});

/** Bytes that mean something to a decoder. */
const telling = [
  0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x1c, 0x1f,
  0x28, 0x3f, 0x40, 0x41, 0x7e, 0x7f, 0x80, 0xc0, 0xd0, 0xd2, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
];

const mutate = (bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> => {
  const mutated = bytes.slice();
  for (let i = Math.floor(random() * 3); i >= 0; i--) {
    const at = 8 + Math.floor(random() * (mutated.length - 8));
    const flipped = (mutated[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    mutated[at] = random() < 0.6 ? telling[Math.floor(random() * telling.length)]! : flipped;
  }
  return mutated;
};

test("a damaged module is refused, or metered into one that validates", () => {
  const counts = { accepted: 0, refused: 0 };
  for (let seed = 1; seed <= 40; seed++) {
    const random = seeded(200_000 + seed);
    const features = {
      exceptions: flag(random),
      tailCalls: true,
      loopParameters: true,
      hidden: true,
    };
    const { plain } = randomModule(random, features);
    for (let i = 0; i < 100; i++) {
      const damaged = mutate(plain, random);
      try {
        const metered = meter(damaged);
        expect(WebAssembly.validate(damaged)).toBe(true);
        expect(WebAssembly.validate(new Uint8Array(metered.bytes))).toBe(true);
        counts.accepted++;
      } catch (error) {
        if (!(error instanceof ModuleRefused)) throw error;
        expect(error.message).not.toInclude("metered form");
        counts.refused++;
      }
    }
  }
  expect(counts.accepted).toBeGreaterThan(100);
  expect(counts.refused).toBeGreaterThan(1000);
});
