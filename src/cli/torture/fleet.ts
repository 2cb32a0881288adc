import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type LivesCounts, livesRows, makeLives, noCounts } from "./engine.ts";
import { makeFaults, type Member } from "./faults.ts";
import { hostAmong, hostOf } from "./host.ts";
import type { FleetOptions } from "./options.ts";
import { keyPrefix, makeRedisServer, type RedisServer } from "./redis.ts";
import { number, type Row } from "./rows.ts";
import { makeTakeovers } from "./takeovers.ts";
import type { World, WorldParts } from "./world.ts";
import { fleetLimits, tortureLimits } from "./torture-limits.ts";

export type FleetParts = WorldParts & { readonly fleet: FleetOptions };

/** Engines that share a Redis, both made to fail. */
export function makeFleetWorld(parts: FleetParts): World {
  const { options, folder, playing } = parts;
  const report = (rule: string, detail: string): void =>
    parts.onViolation({ rule, detail, agentId: "", trace: [] });
  const redis = makeRedisServer(parts.fleet.redisServer, join(folder, "redis"), report);
  const counts = { ...noCounts(), fenced: 0 };
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
    host: (random) =>
      hostAmong(
        members.map(({ lives }) => lives),
        random,
      ),
    audience: takeovers,
    // So that many an answer outlasts a lease.
    paceMsMax: 30,
    torment: faults.torment,
    each: () => members.map(({ lives }) => hostOf(lives)),
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
    rows: (): readonly Row[] => [
      ...livesRows(counts),
      ...faults.rows(),
      ["writes refused as stale", number(counts.fenced)],
    ],
  };
}

/** `fenced`: steps that an engine gave up because another had taken its agent meanwhile. */
type FleetCounts = LivesCounts & { fenced: number };

type MemberParts = {
  readonly index: number;
  readonly url: string;
  readonly counts: FleetCounts;
  readonly report: (rule: string, detail: string) => void;
};

function makeMember(
  { folder, options, random, fleet }: FleetParts,
  { index, url, counts, report }: MemberParts,
): Member {
  const name = `engine-${index + 1}`;
  const own = join(folder, name);
  mkdirSync(own, { recursive: true });
  const note = noteIn(join(own, "log"));
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
    onLine: (line) => {
      note(line);
      if (line.includes('"code":"fenced"')) counts.fenced++;
    },
  });
  return { lives, hasFew, isWell: true };
}

/** Adds lines to a file, to be looked at where something did not hold. */
function noteIn(path: string): (line: string) => void {
  const file = createWriteStream(path, { flags: "a" });
  return (line) => void file.write(`${line}\n`);
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
