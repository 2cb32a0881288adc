import type { Cluster, House } from "./cluster.ts";
import { moveSlots } from "./cluster-slots.ts";
import type { RedisFaults, RedisParts } from "./redis.ts";
import { askingAt } from "./redis-process.ts";
import { number, times } from "./rows.ts";
import { clusterLimits } from "./torture-limits.ts";

/*
 * What is demanded is what README promises of REDIS_WAIT_REPLICAS: what was acknowledged survives the loss of a master.
 * Redis Cluster itself may lose more than that, and where it may, nothing is demanded:
 * 1. A master and its only replica are never hurt together, and a replica that was away has everything again before its
 *    master is hurt: one that is behind and takes over all the same begins where it stopped. So a fault ends when the
 *    Cluster is whole, and the next begins then.
 * 2. A moved key is on its way from one master to another, and deleted by the one, before the other's replica has it: WAIT
 *    does not reach that far. So both are left in peace until the replicas have what was moved.
 * 3. Masters are elected by most of the masters, so that no two are away together.
 * A master that was frozen serves on for some milliseconds when it goes on, though another has its place: what it is told
 * then is thrown away. Nobody was told that it was kept, as no replica confirms it.
 */

/** Faults of a Cluster, one at a time. */
export function makeClusterFaults(cluster: Cluster, { random, note }: RedisParts): RedisFaults {
  const counts = { moves: 0, slots: 0, handOvers: 0, kills: 0, freezes: 0, replicas: 0, brief: 0 };
  const wholeMs: number[] = [];

  /** Picks a master with its replica, and waits until all is well again. */
  const fault =
    (hurt: (house: House, others: readonly House[]) => Promise<void>) =>
    async (): Promise<void> => {
      const houses = await cluster.whole();
      const [first, ...rest] = houses;
      if (first === undefined) return;
      const house = random.pick([first, ...rest]);
      const sinceMs = performance.now();
      await hurt(
        house,
        houses.filter((other) => other !== house),
      );
      await cluster.whole();
      wholeMs.push(performance.now() - sinceMs);
      note("the Cluster is whole again");
    };
  const kill = fault(async ({ master, replica }) => {
    counts.kills++;
    note(`kill -9 of the master at ${master.port}`);
    await master.kill();
    // Now and then it is back before anyone has noticed.
    if (random.chance(0.75)) {
      await cluster.promoted(replica);
      note(`${replica.port} has taken over`);
    }
    await Bun.sleep(random.between(0, clusterLimits.awayMsMax));
    await master.begin();
    note(`back: ${master.port}`);
  });
  const freeze = fault(async ({ master, replica }) => {
    counts.freezes++;
    note(`SIGSTOP of the master at ${master.port}`);
    master.freeze();
    if (random.chance(0.75)) {
      await cluster.promoted(replica);
      note(`${replica.port} has taken over`);
      await Bun.sleep(random.between(0, clusterLimits.awayMsMax));
    } else {
      counts.brief++;
      await Bun.sleep(random.between(50, clusterLimits.nodeTimeoutMs / 2));
    }
    master.thaw();
    note(`SIGCONT of ${master.port}`);
  });
  const handOver = fault(async ({ master, replica }) => {
    counts.handOvers++;
    note(`CLUSTER FAILOVER from ${master.port} to ${replica.port}`);
    const { ask, end } = await askingAt(replica.url);
    await ask("CLUSTER", "FAILOVER").finally(end);
    await cluster.promoted(replica);
  });
  const killReplica = fault(async ({ master, replica }) => {
    counts.replicas++;
    note(`kill -9 of ${replica.port}, the replica of ${master.port}`);
    await replica.kill();
    await Bun.sleep(random.between(0, clusterLimits.awayMsMax));
    await replica.begin();
    note(`back: ${replica.port}`);
  });
  const move = fault(async (house, others) => {
    counts.moves++;
    counts.slots += await moveSlots([house, ...others], random, note);
  });
  return {
    share: 0.4,
    kinds: [
      [0.25, move],
      [0.2, handOver],
      [0.2, kill],
      [0.2, freeze],
      [0.15, killReplica],
    ],
    progress: () =>
      `${counts.moves} moves of slots, ${counts.kills + counts.freezes + counts.handOvers} masters put out`,
    rows: () => [
      ["moves of slots", `${number(counts.moves)}, of ${number(counts.slots)} slots`],
      ["masters handed over", number(counts.handOvers)],
      ["kills of masters", number(counts.kills)],
      ["freezes of masters", `${number(counts.freezes)}, ${number(counts.brief)} of them short`],
      ["kills of replicas", number(counts.replicas)],
      ["fault to Cluster whole", times(wholeMs)],
    ],
  };
}
