import { expect, test } from "bun:test";
import { knownIn, ownerIn, pairsIn, type View } from "../../src/cli/torture/cluster-view.ts";

/** As CLUSTER NODES says it, of two masters and their replicas. */
const lines = [
  "a1 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-99 200 [150->-b1]",
  "a2 127.0.0.1:7002@17002 slave a1 0 1 1 connected",
  "b1 127.0.0.1:7003@17003,host master - 0 1 2 connected 100-199 201-16383",
  "b2 127.0.0.1:7004@17004 slave b1 0 1 2 connected",
];

const viewFrom = (nodes: readonly string[], over: Partial<View> = {}): View => ({
  isServing: true,
  known: knownIn(`${nodes.join("\n")}\n`),
  isFollowing: true,
  offset: 0,
  ...over,
});

const pairsOf = (views: readonly View[]): unknown =>
  pairsIn(views)?.map(({ master, replica }) => [master.port, replica.port]);

test("the owner of each slot is read, and a slot on its way is still where it was", () => {
  const known = knownIn(lines.join("\n"));
  const owners = [0, 99, 100, 150, 200, 201].map((slot) => ownerIn(known, slot));
  expect(owners).toEqual([7001, 7001, 7003, 7003, 7001, 7003]);
  expect(ownerIn(known, 16_384)).toBe(null);
});

test("a Cluster is whole when all servers say the same of masters with a replica each", () => {
  const view = viewFrom(lines);
  const all = Array.from({ length: 4 }, () => view);
  expect(pairsOf(all)).toEqual([
    [7001, 7002],
    [7003, 7004],
  ]);
  const orders = [...all.slice(1), viewFrom(lines.toReversed())];
  expect(pairsOf(orders)).toHaveLength(2);
});

test.each([
  ["one does not serve", { isServing: false }, lines],
  ["one misses another", {}, lines.map((line) => line.replace("slave b1", "slave,fail? b1"))],
  ["one gives a slot to another", {}, lines.map((line) => line.replace("0-99", "0-98"))],
  [
    "one takes a replica for a master",
    {},
    lines.map((line) => line.replace("slave a1", "master -")),
  ],
] as const)("it is not where %s", (_, over, other) => {
  const all = Array.from({ length: 3 }, () => viewFrom(lines));
  expect(pairsOf([...all, viewFrom(other, over)])).toBeUndefined();
  // Nor where all of them agree on that.
  if (!other.includes(lines[0]?.replace("0-99", "0-98") ?? ""))
    expect(pairsOf(Array.from({ length: 4 }, () => viewFrom(other, over)))).toBeUndefined();
});
