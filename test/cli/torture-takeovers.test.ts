import { expect, test } from "bun:test";
import { makeTakeovers, type Takeovers } from "../../src/cli/torture/takeovers.ts";

const loser = (name: string, leaseEndsMs = 0) => ({ name, leaseEndsMs });

/** A clock that is set by hand, and what is measured with it. */
function scene(...names: readonly string[]): {
  readonly takeovers: Takeovers;
  readonly leave: ReadonlyMap<string, () => void>;
  at(ms: number): void;
} {
  let nowMs = 0;
  const takeovers = makeTakeovers(() => nowMs);
  const leave = new Map(names.map((name) => [name, takeovers.enter(name)]));
  return {
    takeovers,
    leave,
    at: (ms) => {
      nowMs = ms;
    },
  };
}

test("what the agents of a dead engine tell next is timed from its end", async () => {
  const { takeovers, at } = scene("a", "b", "c");
  const lost = takeovers.lost([loser("a"), loser("b")], 100);
  at(2_100);
  takeovers.news("a", true);
  takeovers.news("c", true);
  expect(takeovers.waiting()).toEqual(["b"]);
  at(2_600);
  takeovers.news("b", true);
  await lost;
  takeovers.news("b", true);
  expect(takeovers.takenMs).toEqual([2_000, 2_500]);
});

test("neither a client's own message nor what the dead engine had written is a take-over", () => {
  const { takeovers, at } = scene("a");
  void takeovers.lost([loser("a", 1_500)], 0);
  at(1_499);
  takeovers.news("a", true);
  at(2_000);
  takeovers.news("a", false);
  expect(takeovers.waiting()).toEqual(["a"]);
  expect(takeovers.takenMs).toEqual([]);
});

test("who leaves, was not under way or is hit by something else is not waited for", async () => {
  const { takeovers, leave } = scene("a", "b");
  const left = takeovers.lost([loser("a"), loser("stranger")], 0);
  leave.get("a")?.();
  await left;
  const disturbed = takeovers.lost([loser("b")], 0);
  takeovers.disturb();
  await disturbed;
  await takeovers.lost([], 0);
  expect(takeovers.takenMs).toEqual([]);
  expect(takeovers.disturbed()).toBe(1);
});

test("a client in two conversations waits until it has left both", () => {
  const { takeovers, leave } = scene("a");
  const leaveAgain = takeovers.enter("a");
  leave.get("a")?.();
  expect(takeovers.underWay()).toEqual(["a"]);
  leaveAgain();
  expect(takeovers.underWay()).toEqual([]);
});
