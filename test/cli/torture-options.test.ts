import { expect, test } from "bun:test";
import { tortureOptions } from "../../src/cli/torture/options.ts";
import { makeRandom } from "../../src/cli/torture/random.ts";
import { EngramError } from "../../src/errors.ts";

test("options are read, and without a number of kills it lasts a minute", () => {
  const { minutes, agents, kills, seed, toolsPath } = tortureOptions(
    "--minutes 0.5 --agents 7 --kills 3 --seed 0 --tools-path src".split(" "),
  );
  expect({ minutes, agents, kills, seed }).toEqual({ minutes: 0.5, agents: 7, kills: 3, seed: 0 });
  expect(toolsPath).toEndWith("/src");
  expect(tortureOptions([]).minutes).toBe(1);
  expect(tortureOptions(["--kills", "3"]).minutes).toBeGreaterThan(60);
});

test("several engines share a Redis, and so may one", () => {
  const redisServer = process.execPath;
  const fleetOf = (line: string): unknown =>
    tortureOptions([...line.split(" "), "--redis-server", redisServer]).fleet;
  const [one, three] = [1, 3].map((engines) => ({ engines, isCluster: false, redisServer }));
  expect(fleetOf("--engines 3")).toEqual(three);
  expect(fleetOf("--engines 3 --store redis")).toEqual(three);
  expect(fleetOf("--store redis")).toEqual(one);
  expect(fleetOf("--engines 3 --store cluster")).toEqual({ ...three, isCluster: true });
  expect(tortureOptions(["--engines", "1"]).fleet).toBe(null);
  expect(tortureOptions(["--store", "sqlite"]).fleet).toBe(null);
});

test.each([
  "--minutes 0",
  "--minutes many",
  "--minutes -1",
  "--agents 0",
  "--agents 1.5",
  "--agents 1001",
  "--kills 0",
  "--seed x",
  "--tools-path nowhere",
  "--engines 0",
  "--engines 17",
  "--engines 1.5",
  "--store badger",
  "--store sqlite --engines 2",
  "--store cluster --redis-server nowhere",
  "--redis-server redis-server",
  "--engines 2 --redis-server nowhere",
  "--unknown 1",
  "word",
])("%s is bad usage", (line) => {
  const read = (): unknown => tortureOptions(line.split(" "));
  expect(read).toThrow(EngramError);
  expect(read).toThrow(/usage|not there/);
});

test("the same seed and name give the same chance, another of them another", () => {
  const drawn = (seed: number, name: string): readonly number[] => {
    const random = makeRandom(seed).named(name);
    return Array.from({ length: 200 }, () => random.between(1, 6));
  };
  expect(drawn(1, "a")).toEqual(drawn(1, "a"));
  expect(drawn(1, "a")).not.toEqual(drawn(2, "a"));
  expect(drawn(1, "a")).not.toEqual(drawn(1, "b"));
  expect(new Set(drawn(1, "a"))).toEqual(new Set([1, 2, 3, 4, 5, 6]));
});
