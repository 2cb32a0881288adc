import type { Lives, LivesCounts } from "./engine.ts";
import type { TortureOptions } from "./options.ts";
import type { Random } from "./random.ts";
import type { Driver, RedisServer } from "./redis.ts";
import { number, type Row, times } from "./rows.ts";
import type { Subject } from "./subject.ts";
import type { Takeovers } from "./takeovers.ts";
import { within } from "./world.ts";
import { fleetLimits } from "./torture-limits.ts";

/** One of the engines, and what is being done to it. */
export type Member = {
  readonly lives: Lives;
  /** It takes few agents at once, so that its clients mostly see what others do. */
  readonly hasFew: boolean;
  /** Nothing is being done to it. */
  isWell: boolean;
};

type FaultsParts = {
  readonly options: TortureOptions;
  readonly random: Random;
  /** Keeps a line of what was done when. */
  readonly note: (line: string) => void;
  readonly members: readonly Member[];
  readonly redis: RedisServer;
  readonly takeovers: Takeovers;
  readonly playing: ReadonlyMap<string, Subject>;
};

/** What goes wrong with engines and their Redis, one thing after the other and several at once. */
export type Faults = {
  /** Does harm until it is over, and mends all of it. */
  torment(stopped: AbortSignal): Promise<void>;
  progress(lives: LivesCounts): string;
  rows(): readonly Row[];
};

/** Resolves when it is mended; `alone`: nothing else is wrong as it begins. */
type Fault = (alone: boolean) => Promise<void>;

type Counts = {
  faults: number;
  overlapping: number;
  freezes: number;
  /** Of these, for longer than a lease. */
  staleFreezes: number;
  redisKills: number;
  redisFreezes: number;
};

/** Share of the faults whose end is awaited before the next. */
const awaitedShare = 0.6;

export function makeFaults(parts: FaultsParts): Faults {
  const { options, random, takeovers } = parts;
  const counts: Counts = {
    faults: 0,
    overlapping: 0,
    freezes: 0,
    staleFreezes: 0,
    redisKills: 0,
    redisFreezes: 0,
  };
  const pick = makeChoice(parts, counts);
  const underWay = new Set<Promise<void>>();

  const begin = (fault: Fault): Promise<void> => {
    counts.faults++;
    const alone = underWay.size === 0;
    if (!alone) counts.overlapping++;
    takeovers.disturb();
    const going = fault(alone).finally(() => underWay.delete(going));
    // Whoever awaits all of them at the end looks at it.
    going.catch(() => {});
    underWay.add(going);
    return going;
  };
  return {
    torment: async (stopped) => {
      const { promise: over, resolve } = Promise.withResolvers<void>();
      let isOver = false;
      const end = (): void => {
        isOver = true;
        resolve();
      };
      stopped.addEventListener("abort", end);
      const timer = setTimeout(end, options.minutes * 60_000);
      for (;;) {
        await Promise.race([over, Bun.sleep(gapMs(random))]);
        if (isOver || counts.faults >= options.kills) break;
        const fault = pick();
        const mended = fault === null ? null : begin(fault);
        if (random.chance(awaitedShare)) await Promise.race([over, mended]);
      }
      clearTimeout(timer);
      await Promise.all(underWay);
    },
    progress: ({ kills }) =>
      `${counts.faults} faults (${kills} kills, ${counts.freezes} freezes, ${counts.redisKills} kills of Redis)`,
    rows: () => rowsOf(counts, takeovers),
  };
}

/** Picks what goes wrong next; null: nothing can just now. */
function makeChoice(parts: FaultsParts, counts: Counts): () => Fault | null {
  const { random } = parts;
  const engineFaults = makeEngineFaults(parts, counts);
  const redisFaults = makeRedisFaults(parts, counts);
  let isRedisWell = true;

  const ofEngine = (fault: (member: Member, alone: boolean) => Promise<void>): Fault | null => {
    const [first, ...rest] = parts.members.filter((member) => mayFail(member, parts.members));
    if (first === undefined) return null;
    const member = random.pick([first, ...rest]);
    return async (alone) => {
      member.isWell = false;
      await fault(member, alone);
      member.isWell = true;
    };
  };
  const ofRedis = (fault: () => Promise<void>): Fault | null => {
    if (!isRedisWell) return null;
    return async () => {
      isRedisWell = false;
      await fault();
      isRedisWell = true;
    };
  };
  const kinds: readonly (readonly [share: number, kind: () => Fault | null])[] = [
    [0.36, () => ofEngine(engineFaults.kill)],
    [0.14, () => ofEngine(engineFaults.terminate)],
    [0.32, () => ofEngine(engineFaults.freeze)],
    [0.06, () => ofRedis(redisFaults.kill)],
    [0.12, () => ofRedis(redisFaults.freeze)],
  ];
  return () => {
    let at = random.next();
    return kinds.find(([share]) => (at -= share) < 0)?.[1]() ?? null;
  };
}

/** An engine that is well stays, with room for every agent, unless there is but one. */
function mayFail(member: Member, members: readonly Member[]): boolean {
  const heirs = members.filter((other) => other !== member && other.isWell && !other.hasFew);
  return member.isWell && (heirs.length > 0 || members.length === 1);
}

function makeEngineFaults(parts: FaultsParts, counts: Counts) {
  const { random, note } = parts;
  const { leaseTtlMs } = fleetLimits;
  return {
    kill: async ({ lives }: Member, alone: boolean): Promise<void> => {
      const pid = lives.pid();
      const sinceMs = performance.now();
      note(`${stamp()} kill -9 of ${lives.current()?.name}`);
      await lives.kill();
      const hasHeirs = alone && parts.members.length > 1;
      const taken = hasHeirs ? mustBeTakenOver(parts, { pid, sinceMs }, counts) : Promise.resolve();
      await Bun.sleep(random.between(0, random.chance(0.3) ? 2 * leaseTtlMs : 1_000));
      await Promise.all([lives.begin(), taken]);
      note(`${stamp()} back: ${lives.current()?.name}`);
    },
    terminate: async ({ lives }: Member): Promise<void> => {
      note(`${stamp()} SIGTERM of ${lives.current()?.name}`);
      await lives.terminate();
      await Bun.sleep(random.between(0, 1_000));
      await lives.begin();
      note(`${stamp()} back: ${lives.current()?.name}`);
    },
    freeze: async ({ lives }: Member): Promise<void> => {
      // Mostly so that its agents were taken from it just before, and are in mid-answer elsewhere.
      const leases = random.chance(0.6) ? 0.95 + random.next() * 0.7 : 0.1 + random.next() * 2.9;
      const forMs = Math.round(leaseTtlMs * leases);
      counts.freezes++;
      if (forMs > leaseTtlMs) counts.staleFreezes++;
      note(`${stamp()} SIGSTOP of ${lives.current()?.name} for ${forMs} ms`);
      lives.freeze();
      await Bun.sleep(forMs);
      lives.thaw();
      note(`${stamp()} SIGCONT of ${lives.current()?.name}`);
    },
  };
}

function makeRedisFaults({ random, note, redis }: FaultsParts, counts: Counts) {
  return {
    kill: async (): Promise<void> => {
      counts.redisKills++;
      note(`${stamp()} kill -9 of redis-server`);
      await redis.kill();
      await Bun.sleep(random.between(0, 1_500));
      await redis.begin();
      note(`${stamp()} back: redis-server`);
    },
    freeze: async (): Promise<void> => {
      counts.redisFreezes++;
      const forMs = random.between(50, 800);
      note(`${stamp()} SIGSTOP of redis-server for ${forMs} ms`);
      redis.freeze();
      await Bun.sleep(forMs);
      redis.thaw();
    },
  };
}

/** The agents that an engine drove when it was killed go on in time, where nothing else goes wrong meanwhile. */
async function mustBeTakenOver(
  { takeovers, playing, redis }: FaultsParts,
  { pid, sinceMs }: { readonly pid: number; readonly sinceMs: number },
  counts: Pick<Counts, "faults">,
): Promise<void> {
  const { faults } = counts;
  const names = takeovers.underWay();
  const agentIds = names.map((name) => playing.get(name)?.agentId ?? "");
  let drivers: readonly Driver[];
  try {
    drivers = await redis.drivers(agentIds);
  } catch {
    return; // Redis went away meanwhile.
  }
  if (counts.faults !== faults) return;
  const nowMs = performance.now();
  const losers = names.flatMap((name, index) => {
    const driver = drivers[index];
    return driver?.pid === pid ? [{ name, leaseEndsMs: nowMs + driver.leaseMs }] : [];
  });
  const lost = takeovers.lost(losers, sinceMs);
  const limitMs = fleetLimits.leaseTtlMs + fleetLimits.takeoverMs + fleetLimits.marginMs;
  await within(lost, limitMs - (performance.now() - sinceMs), () => {
    for (const name of takeovers.waiting())
      playing
        .get(name)
        ?.report(
          "late take-over",
          `nothing came of it for ${limitMs} ms after the kill of its engine`,
        );
  });
}

const stamp = (): string => new Date().toISOString().slice(11, -1);

/** From nothing to two seconds. */
const gapMs = (random: Random): number =>
  random.chance(0.3) ? random.between(0, 100) : random.between(100, 2_000);

const rowsOf = (counts: Counts, takeovers: Takeovers): readonly Row[] => [
  [
    "freezes of engines",
    `${number(counts.freezes)}, ${number(counts.staleFreezes)} of them longer than a lease`,
  ],
  ["kills of Redis", number(counts.redisKills)],
  ["freezes of Redis", number(counts.redisFreezes)],
  [
    "faults",
    `${number(counts.faults)}, ${number(counts.overlapping)} of them while another lasted`,
  ],
  ["kill to take-over", times(takeovers.takenMs)],
  [
    "take-overs not measured",
    `${number(takeovers.disturbed())}, because more went wrong meanwhile`,
  ],
];
