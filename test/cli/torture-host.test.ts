import { expect, test } from "bun:test";
import { hostAmong } from "../../src/cli/torture/host.ts";
import { makeRandom } from "../../src/cli/torture/random.ts";
import type { Life } from "../../src/cli/torture/world.ts";

/** An engine that is there, or not, as it is told. */
function makeEngine(name: string) {
  let current: Life | null = null;
  let there = Promise.withResolvers<Life>();
  return {
    name,
    current: () => current,
    now: () => there.promise,
    begin: (): void => {
      current = { name, url: "", over: new Promise(() => {}) };
      there.resolve(current);
    },
    end: (): void => {
      current = null;
      there = Promise.withResolvers();
    },
  };
}

const times = 300;

test("a client stays with an engine for a while, and comes to all of them", async () => {
  const engines = ["a", "b", "c"].map(makeEngine);
  for (const engine of engines) engine.begin();
  const host = hostAmong(engines, makeRandom(1));
  const seen: string[] = [];
  for (let time = 0; time < times; time++) seen.push((await host.now()).name);
  expect(new Set(seen)).toEqual(new Set(["a", "b", "c"]));
  const moves = seen.filter((name, index) => index > 0 && name !== seen[index - 1]).length;
  expect(moves).toBeGreaterThan(0);
  expect(moves).toBeLessThan(times / 4);
});

test("an engine that failed a client is left while there is another", async () => {
  const engines = ["a", "b"].map(makeEngine);
  for (const engine of engines) engine.begin();
  const host = hostAmong(engines, makeRandom(2));
  for (let time = 0; time < times; time++) {
    const life = await host.now();
    host.leave(life);
    expect((await host.now()).name).not.toBe(life.name);
  }
  engines[0]?.end();
  const last = await host.now();
  host.leave(last);
  expect([last.name, (await host.now()).name]).toEqual(["b", "b"]);
});

test("a client without any engine waits for the first that comes", async () => {
  const engines = ["a", "b", "c"].map(makeEngine);
  const host = hostAmong(engines, makeRandom(3));
  const asked = host.now();
  engines[1]?.begin();
  expect((await asked).name).toBe("b");
});
