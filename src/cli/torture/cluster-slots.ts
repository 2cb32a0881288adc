import { makeShards } from "../../store/redis/shards.ts";
import { listOf, textOf } from "../../store/redis/values.ts";
import type { ClusterNode, House } from "./cluster-houses.ts";
import { ownerIn } from "./cluster-view.ts";
import { keyPrefix } from "./looks.ts";
import type { Random } from "./random.ts";
import { type Asking, askingAt } from "./redis-process.ts";
import { clusterLimits } from "./torture-limits.ts";

/** Moves one to three shards' slots from the master that has most to another; gives how many slots that were. */
export async function moveSlots(
  houses: readonly House[],
  random: Random,
  note: (line: string) => void,
): Promise<number> {
  const masters = houses.map(({ master }) => master);
  const usedOf = (master: ClusterNode): readonly number[] =>
    makeShards(keyPrefix).all.flatMap(({ slot }) =>
      ownerIn([master], slot) === null ? [] : [slot],
    );
  const [from, to, ...rest] = masters.toSorted((a, b) => usedOf(b).length - usedOf(a).length);
  if (from === undefined || to === undefined) return 0;
  const target = random.pick([to, ...rest]);
  const moved = usedOf(from)
    .toSorted(() => random.next() - 0.5)
    .slice(0, random.between(1, 3));
  let count = 0;
  const connections = new Map<ClusterNode, Asking>();
  try {
    for (const master of masters) connections.set(master, await askingAt(master.url));
    for (const slot of moved) {
      const [first, last] = [slot - clusterLimits.emptySlots, slot + clusterLimits.emptySlots];
      note(`slots ${first} to ${last} go from ${from.port} to ${target.port}`);
      for (let one = first; one <= last; one++)
        if (ownerIn([from], one) !== null) {
          await moveSlot({ from, to: target, connections, random }, one);
          count++;
        }
    }
  } finally {
    for (const { end } of connections.values()) end();
  }
  return count;
}

type Move = {
  readonly from: ClusterNode;
  readonly to: ClusterNode;
  readonly connections: ReadonlyMap<ClusterNode, Asking>;
  readonly random: Random;
};

/** As redis-cli does it: who imports is told first, and who had it last of the two. */
async function moveSlot({ from, to, connections, random }: Move, slot: number): Promise<void> {
  const tell = (node: ClusterNode, ...command: readonly [string, ...string[]]): Promise<unknown> =>
    connections.get(node)?.ask(...command) ?? Promise.resolve();
  const set = ["CLUSTER", "SETSLOT", `${slot}`] as const;
  await tell(to, ...set, "IMPORTING", from.id);
  await tell(from, ...set, "MIGRATING", to.id);
  const { keysAtOnce, moveMsMax, migrateMs } = clusterLimits;
  for (;;) {
    const keys = listOf(await tell(from, "CLUSTER", "GETKEYSINSLOT", `${slot}`, `${keysAtOnce}`));
    if (keys.length === 0) break;
    // A slot with much in it is neither here nor there for a while.
    await Bun.sleep(random.between(0, moveMsMax));
    const where = ["127.0.0.1", `${to.port}`, "", "0", `${migrateMs}`];
    await tell(from, "MIGRATE", ...where, "KEYS", ...keys.map(textOf));
  }
  const others = [...connections.keys()].filter((node) => node !== to && node !== from);
  for (const node of [to, from, ...others]) await tell(node, ...set, "NODE", to.id);
}
