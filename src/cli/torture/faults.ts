import type { Lives, LivesCounts } from "./engine.ts";
import type { TortureOptions } from "./options.ts";
import type { Random } from "./random.ts";
import type { Driver } from "./looks.ts";
import type { Recovery } from "./recovery.ts";
import type { SharedRedis } from "./redis.ts";
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
  readonly redis: SharedRedis;
  readonly takeovers: Takeovers;
  readonly recovery: Recovery;
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
  /** All engines stopped and started, one after the other. */
  rollings: number;
};

/** Share of the faults whose end is awaited before the next. */
const awaitedShare = 0.6;

export function makeFaults(parts: FaultsParts): Faults {
  const { options, random, takeovers, recovery, redis } = parts;
  const counts: Counts = {
    faults: 0,
    overlapping: 0,
    freezes: 0,
    staleFreezes: 0,
    rollings: 0,
  };
  const pick = makeChoice(parts, counts);
  const underWay = new Set<Promise<void>>();

  const begin = (fault: Fault): Promise<void> => {
    counts.faults++;
    const alone = underWay.size === 0;
    if (!alone) counts.overlapping++;
    takeovers.disturb();
    recovery.end();
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
      `${counts.faults} faults (${kills} kills, ${counts.freezes} freezes, ${redis.faults.progress()})`,
    rows: () => rowsOf(counts, parts),
  };
}

/** Picks what goes wrong next; null: nothing can just now. */
function makeChoice(parts: FaultsParts, counts: Counts): () => Fault | null {
  const { random } = parts;
  const engineFaults = makeEngineFaults(parts, counts);
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
    return async (alone) => {
      isRedisWell = false;
      const { faults } = counts;
      await fault();
      isRedisWell = true;
      if (alone && counts.faults === faults) await mustGoOn(parts);
    };
  };
  const redisFaults = parts.redis.faults;
  const engineShare = 1 - redisFaults.share;
  const kinds: readonly (readonly [share: number, kind: () => Fault | null])[] = [
    ...redisFaults.kinds.map(
      ([part, run]) => [redisFaults.share * part, () => ofRedis(run)] as const,
    ),
    [engineShare * 0.41, () => ofEngine(engineFaults.kill)],
    [engineShare * 0.12, () => ofEngine(engineFaults.terminate)],
    [engineShare * 0.06, () => engineFaults.roll],
    [engineShare * 0.41, () => ofEngine(engineFaults.freeze)],
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
      note(`kill -9 of ${lives.current()?.name}`);
      await lives.kill();
      const hasHeirs = alone && parts.members.length > 1;
      const taken = hasHeirs ? mustBeTakenOver(parts, { pid, sinceMs }, counts) : Promise.resolve();
      await Bun.sleep(random.between(0, random.chance(0.3) ? 2 * leaseTtlMs : 1_000));
      await Promise.all([lives.begin(), taken]);
      note(`back: ${lives.current()?.name}`);
    },
    terminate: async ({ lives }: Member): Promise<void> => {
      note(`SIGTERM of ${lives.current()?.name}`);
      await lives.terminate();
      await Bun.sleep(random.between(0, 1_000));
      await lives.begin();
      note(`back: ${lives.current()?.name}`);
    },
    /** As a new release is brought in. */
    roll: async (): Promise<void> => {
      counts.rollings++;
      note("a rolling restart begins");
      for (const member of parts.members) {
        // Who is being hurt just now has its turn when that is over.
        while (!mayFail(member, parts.members)) await Bun.sleep(fleetLimits.lookMs);
        member.isWell = false;
        note(`SIGTERM of ${member.lives.current()?.name}`);
        await member.lives.stop();
        await member.lives.begin();
        member.isWell = true;
      }
      note("the rolling restart is over");
    },
    freeze: async ({ lives }: Member): Promise<void> => {
      // Mostly so that its agents were taken from it just before, and are in mid-answer elsewhere.
      const leases = random.chance(0.6) ? 0.95 + random.next() * 0.7 : 0.1 + random.next() * 2.9;
      const forMs = Math.round(leaseTtlMs * leases);
      counts.freezes++;
      if (forMs > leaseTtlMs) counts.staleFreezes++;
      note(`SIGSTOP of ${lives.current()?.name} for ${forMs} ms`);
      lives.freeze();
      await Bun.sleep(forMs);
      lives.thaw();
      note(`SIGCONT of ${lives.current()?.name}`);
    },
  };
}

/** With Redis well again, and nothing else wrong, every agent goes on. */
async function mustGoOn({ recovery, playing }: FaultsParts): Promise<void> {
  await within(recovery.begin(), fleetLimits.goingMs, () => {
    const detail = `nothing came of it for ${fleetLimits.goingMs} ms after Redis was well again`;
    for (const name of recovery.waiting()) playing.get(name)?.report("stuck", detail);
  });
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

/** From nothing to two seconds. */
const gapMs = (random: Random): number =>
  random.chance(0.3) ? random.between(0, 100) : random.between(100, 2_000);

const rowsOf = (counts: Counts, { takeovers, recovery, redis }: FaultsParts): readonly Row[] => [
  [
    "freezes of engines",
    `${number(counts.freezes)}, ${number(counts.staleFreezes)} of them longer than a lease`,
  ],
  ["rolling restarts", number(counts.rollings)],
  ...redis.faults.rows(),
  [
    "faults",
    `${number(counts.faults)}, ${number(counts.overlapping)} of them while another lasted`,
  ],
  ["Redis well to all going again", times(recovery.goingMs)],
  ["kill to take-over", times(takeovers.takenMs)],
  [
    "take-overs not measured",
    `${number(takeovers.disturbed())}, because more went wrong meanwhile`,
  ],
];
