import type { Cluster, House } from "./cluster-houses.ts";
import { moveSlots } from "./cluster-slots.ts";
import type { RedisFaults, RedisParts } from "./redis.ts";
import { askingAt } from "./redis-process.ts";
import { number, times } from "./rows.ts";
import { clusterLimits } from "./torture-limits.ts";

/*
 * What is demanded is what README promises of REDIS_WAIT_REPLICAS=1: whatever was acknowledged or shown is on a replica, and
 * survives the loss of its master. Redis Cluster itself may lose more, and where it may nothing is demanded:
 * 1. A replica that was away has everything again before its master is hurt: so a fault ends when the Cluster is whole, and
 *    the next begins then. Else what the one was told, and then the other, would be with neither.
 *    A replica that takes over although it was away is no such loss: nothing was acknowledged meanwhile.
 * 2. A moved key is on its way from one master to another, and deleted by the one, before the other's replica has it: WAIT
 *    does not reach that far. So both are left in peace until the replicas have what was moved.
 * 3. Most of the masters elect a new one, so that no two are away together.
 * A master that was frozen serves on for some milliseconds when it goes on, though another has its place: what it is told
 * then is thrown away. Nobody was told that it was kept, as no replica confirms it.
 */

type Counts = Record<
  "moves" | "slots" | "handOvers" | "kills" | "behind" | "freezes" | "brief" | "replicas",
  number
>;

/** Faults of a Cluster, one at a time. */
export function makeClusterFaults(cluster: Cluster, parts: RedisParts): RedisFaults {
  const { random, note } = parts;
  const counts: Counts = {
    moves: 0,
    slots: 0,
    handOvers: 0,
    kills: 0,
    behind: 0,
    freezes: 0,
    brief: 0,
    replicas: 0,
  };
  const wholeMs: number[] = [];
  const hurts = makeHurts(cluster, parts, counts);

  /** To a master with its replica; waits until all is well again. */
  const fault = (hurt: Hurt) => async (): Promise<void> => {
    const houses = await cluster.whole();
    const [first, ...rest] = houses;
    if (first === undefined) return;
    const house = random.pick([first, ...rest]);
    const sinceMs = performance.now();
    await hurt(house, houses);
    await cluster.whole();
    wholeMs.push(performance.now() - sinceMs);
    note("the Cluster is whole again");
  };
  return {
    share: 0.4,
    kinds: [
      [0.25, fault(hurts.move)],
      [0.15, fault(hurts.handOver)],
      [0.2, fault(hurts.kill)],
      [0.1, fault(hurts.killBoth)],
      [0.2, fault(hurts.freeze)],
      [0.1, fault(hurts.killReplica)],
    ],
    progress: () =>
      `${counts.moves} moves of slots, ${counts.kills + counts.freezes + counts.handOvers} masters put out`,
    rows: () => [
      ["moves of slots", `${number(counts.moves)}, of ${number(counts.slots)} slots`],
      ["masters handed over", number(counts.handOvers)],
      [
        "kills of masters",
        `${number(counts.kills)}, ${number(counts.behind)} of them while their replica was away`,
      ],
      ["freezes of masters", `${number(counts.freezes)}, ${number(counts.brief)} of them short`],
      ["kills of replicas", number(counts.replicas)],
      ["fault to Cluster whole", times(wholeMs)],
    ],
  };
}

/** `houses`: all of them. */
type Hurt = (house: House, houses: readonly House[]) => Promise<void>;

function makeHurts(cluster: Cluster, { random, note }: RedisParts, counts: Counts) {
  const { awayMsMax, nodeTimeoutMs } = clusterLimits;
  const takenOver = async (replica: House["replica"]): Promise<void> => {
    await cluster.promoted(replica);
    note(`${replica.port} has taken over`);
  };
  return {
    kill: async ({ master, replica }: House): Promise<void> => {
      counts.kills++;
      note(`kill -9 of the master at ${master.port}`);
      await master.kill();
      // Now and then it is back before anyone has noticed.
      if (random.chance(0.75)) await takenOver(replica);
      await Bun.sleep(random.between(0, awayMsMax));
      await master.begin();
      note(`back: ${master.port}`);
    },
    /** The replica comes back first, without what its master wrote last, and an operator puts it in its place. */
    killBoth: async ({ master, replica }: House): Promise<void> => {
      counts.kills++;
      counts.behind++;
      note(`kill -9 of ${replica.port}, and then of its master at ${master.port}`);
      await replica.kill();
      await Bun.sleep(random.between(0, awayMsMax));
      await master.kill();
      await replica.begin();
      const { ask, end } = await askingAt(replica.url);
      await ask("CLUSTER", "FAILOVER", "TAKEOVER").finally(end);
      await takenOver(replica);
      await master.begin();
      note(`back: ${master.port}`);
    },
    freeze: async ({ master, replica }: House): Promise<void> => {
      counts.freezes++;
      note(`SIGSTOP of the master at ${master.port}`);
      master.freeze();
      if (random.chance(0.75)) {
        await takenOver(replica);
        await Bun.sleep(random.between(0, awayMsMax));
      } else {
        counts.brief++;
        await Bun.sleep(random.between(50, nodeTimeoutMs / 2));
      }
      master.thaw();
      note(`SIGCONT of ${master.port}`);
    },
    handOver: async ({ master, replica }: House): Promise<void> => {
      counts.handOvers++;
      note(`CLUSTER FAILOVER from ${master.port} to ${replica.port}`);
      const { ask, end } = await askingAt(replica.url);
      await ask("CLUSTER", "FAILOVER").finally(end);
      await takenOver(replica);
    },
    killReplica: async ({ master, replica }: House): Promise<void> => {
      counts.replicas++;
      note(`kill -9 of ${replica.port}, the replica of ${master.port}`);
      await replica.kill();
      await Bun.sleep(random.between(0, awayMsMax));
      await replica.begin();
      note(`back: ${replica.port}`);
    },
    move: async (_: House, houses: readonly House[]): Promise<void> => {
      counts.moves++;
      counts.slots += await moveSlots(houses, random, note);
    },
  };
}
