import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fleetLimits, tortureLimits } from "../../limits.ts";
import { type LivesCounts, livesRows, makeLives, noCounts } from "./engine.ts";
import { makeFaults, type Member } from "./faults.ts";
import type { FleetOptions } from "./options.ts";
import type { Random } from "./random.ts";
import { keyPrefix, makeRedisServer, type RedisServer } from "./redis.ts";
import { number, type Row } from "./rows.ts";
import { makeTakeovers } from "./takeovers.ts";
import { type Host, type Life, type World, type WorldParts } from "./world.ts";

export type FleetParts = WorldParts & { readonly fleet: FleetOptions };

/** Engines that share a Redis, both made to fail. */
export function makeFleetWorld(parts: FleetParts): World {
  const { options, folder, playing } = parts;
  const report = (rule: string, detail: string): void =>
    parts.onViolation({ rule, detail, agentId: "", trace: [] });
  const redis = makeRedisServer(parts.fleet.redisServer, join(folder, "redis"), report);
  const counts = noCounts();
  const members = Array.from({ length: parts.fleet.engines }, (_, index) =>
    makeMember(parts, { index, url: redis.url, counts, report }),
  );
  const takeovers = makeTakeovers(() => performance.now());
  const faults = makeFaults({
    options,
    random: parts.random.named("faults"),
    note: noteIn(join(folder, "faults.log")),
    members,
    redis,
    takeovers,
    playing,
  });
  return {
    begin: async () => {
      await redis.begin();
      await Promise.all(members.map(({ lives }) => lives.begin()));
    },
    host: (random) => hostAmong(members, random),
    audience: takeovers,
    torment: faults.torment,
    each: () => members.map(({ lives }) => ({ ...manners, now: lives.now, leave: () => {} })),
    end: async () => {
      await mustHaveNothingDue(redis, report);
      await Promise.all(members.map(({ lives }) => lives.stop()));
      await redis.kill();
      return [["engines that tell all alike", number(members.length)]];
    },
    abandon: async () => {
      await Promise.all([...members.map(({ lives }) => lives.abandon()), redis.kill()]);
    },
    progress: () => faults.progress(counts),
    rows: (): readonly Row[] => [...livesRows(counts), ...faults.rows()],
  };
}

/** A client notices an engine that keeps silent, and often leaves, so that it comes to one that another's agent is shown by. */
const manners = {
  silenceMs: fleetLimits.silenceMs,
  retryMs: fleetLimits.retryMs,
  dropShare: 0.15,
} as const;

type MemberParts = {
  readonly index: number;
  readonly url: string;
  readonly counts: LivesCounts;
  readonly report: (rule: string, detail: string) => void;
};

function makeMember(
  { folder, options, random, fleet }: FleetParts,
  { index, url, counts, report }: MemberParts,
): Member {
  const name = `engine-${index + 1}`;
  const own = join(folder, name);
  mkdirSync(own, { recursive: true });
  const hasFew = index === 0 && fleet.engines > 2;
  const lives = makeLives({
    name,
    folder: own,
    settings: {
      STORE_TYPE: "redis",
      REDIS_URL: url,
      REDIS_KEY_PREFIX: keyPrefix,
      LEASE_TTL_MS: `${fleetLimits.leaseTtlMs}`,
      HEARTBEAT_MS: `${fleetLimits.heartbeatMs}`,
      TOOLS_PATH: options.toolsPath,
      ...(hasFew ? { WORKER_CONCURRENCY: `${fleetLimits.roomFew}` } : {}),
    },
    random: random.named(`lives of ${name}`),
    counts,
    report,
    onLine: noteIn(join(own, "log")),
  });
  return { lives, hasFew, isWell: true };
}

/** Adds lines to a file, to be looked at where something did not hold. */
function noteIn(path: string): (line: string) => void {
  const file = createWriteStream(path, { flags: "a" });
  return (line) => void file.write(`${line}\n`);
}

/** Share of the calls and streams before which a client changes its engine. */
const movedShare = 0.1;

/** The engines as one client sees them: it stays with one until that fails it, and now and then goes to another. */
function hostAmong(members: readonly Member[], random: Random): Host {
  let current: Life | null = null;
  let left: Life | null = null;
  return {
    ...manners,
    now: async () => {
      for (;;) {
        const there = members.flatMap(({ lives }) => lives.current() ?? []);
        const others = there.filter((life) => life !== left);
        const [first, ...rest] = others.length > 0 ? others : there;
        if (first === undefined) {
          await Promise.race(members.map(({ lives }) => lives.now()));
          continue;
        }
        const choice = [first, ...rest] as const;
        const stays = choice.find((life) => life === current);
        if (stays !== undefined && !random.chance(movedShare)) return stays;
        current = random.pick(choice);
        return current;
      }
    },
    leave: (life) => {
      left = life;
    },
  };
}

/** With every agent at rest nobody is due and nobody is driven any more. */
async function mustHaveNothingDue(
  redis: RedisServer,
  report: (rule: string, detail: string) => void,
): Promise<void> {
  const deadlineMs = performance.now() + tortureLimits.restMs;
  for (;;) {
    const due = await redis.due();
    if (due.length === 0) return;
    if (performance.now() > deadlineMs)
      return report("not at rest", `due or driven, with every client content: ${due.join(" ")}`);
    await Bun.sleep(fleetLimits.lookMs);
  }
}
