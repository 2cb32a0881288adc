import { expect, test } from "bun:test";
import fc from "fast-check";
import { firstOf } from "../../src/store/redis/merge.ts";
import { seeded } from "../support/seed.ts";

/** Sources of numbers in rising order, and how many of each were read. */
const sourcesOf = (lists: readonly (readonly number[])[]) => {
  const read = lists.map(() => 0);
  const sources = lists.map((list, index) => async (after: number | null, count: number) => {
    const start = after === null ? 0 : list.indexOf(after) + 1;
    const page = list.slice(start, start + count);
    read[index]! += page.length;
    return page;
  });
  return { sources, read };
};

test("joined sources give what all of them hold, in order, in pages of any size", async () => {
  const anyLists = fc
    .uniqueArray(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 999 })), {
      selector: ([, number]) => number,
      maxLength: 120,
    })
    .map((pairs) =>
      [0, 1, 2, 3].map((source) =>
        pairs
          .filter(([of]) => of === source)
          .map(([, number]) => number)
          .toSorted((a, b) => a - b),
      ),
    );
  await fc.assert(
    fc.asyncProperty(
      anyLists,
      fc.array(fc.nat({ max: 30 }), { maxLength: 12 }),
      async (lists, limits) => {
        const first = firstOf(sourcesOf(lists).sources, (a, b) => a < b);
        const expected = lists.flat().toSorted((a, b) => a - b);
        let given = 0;
        for (const limit of limits) {
          expect(await first.take(limit)).toEqual(expected.slice(given, given + limit));
          given += limit;
        }
      },
    ),
    seeded(300),
  );
});

test("no more is read of a source than its share needs, however much it holds", async () => {
  const lists = Array.from({ length: 32 }, (_, source) =>
    Array.from({ length: 3_000 }, (__, n) => n * 32 + source),
  );
  const { sources, read } = sourcesOf(lists);
  expect(await firstOf(sources, (a, b) => a < b).take(50)).toHaveLength(50);
  expect(Math.max(...read)).toBeLessThan(20);
});
