import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type LivesCounts, livesRows, makeLives, noCounts } from "./engine.ts";
import { makeFaults, type Member } from "./faults.ts";
import { hostAmong, hostOf } from "./host.ts";
import type { FleetOptions } from "./options.ts";
import { makeClusterRedis } from "./cluster.ts";
import { keyPrefix, type Looks } from "./looks.ts";
import { makeRecovery } from "./recovery.ts";
import { makeOneRedis } from "./redis.ts";
import { number, type Row } from "./rows.ts";
import { makeTakeovers } from "./takeovers.ts";
import type { World, WorldParts } from "./world.ts";
import { fleetLimits, tortureLimits } from "./torture-limits.ts";
import { verify } from "./verify.ts";

export type FleetParts = WorldParts & { readonly fleet: FleetOptions };

/** Engines that share a Redis or a Cluster, both made to fail. */
export function makeFleetWorld(parts: FleetParts): World {
  const { options, folder, playing } = parts;
  const report = (rule: string, detail: string): void =>
    parts.onViolation({ rule, detail, agentId: "", trace: [] });
  const note = timed(noteIn(join(folder, "faults.log")));
  const redis = (parts.fleet.isCluster ? makeClusterRedis : makeOneRedis)({
    program: parts.fleet.redisServer,
    folder,
    random: parts.random.named("redis"),
    report,
    note,
  });
  const counts = { ...noCounts(), fenced: 0 };
  const members = Array.from({ length: parts.fleet.engines }, (_, index) =>
    makeMember(parts, { index, settings: redis.settings, counts, report }),
  );
  const takeovers = makeTakeovers(() => performance.now());
  const recovery = makeRecovery();
  const faults = makeFaults({
    options,
    random: parts.random.named("faults"),
    note,
    members,
    redis,
    takeovers,
    recovery,
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
    audience: {
      enter: (name) => {
        const ways = [takeovers.enter(name), recovery.enter(name)];
        return () => ways.forEach((leave) => leave());
      },
      news: (name, byAgent) => {
        takeovers.news(name, byAgent);
        recovery.news(name, byAgent);
      },
    },
    // So that many an answer outlasts a lease.
    paceMsMax: 30,
    torment: faults.torment,
    each: () => members.map(({ lives }) => hostOf(lives)),
    end: async () => {
      await mustHaveNothingDue(redis, report);
      await Promise.all(members.map(({ lives }) => lives.stop()));
      const found = await verify(folder, storeOf(redis.settings), report);
      await redis.stop();
      return endRows(members.length, found);
    },
    abandon: async () => {
      await Promise.all([...members.map(({ lives }) => lives.abandon()), redis.stop()]);
    },
    progress: () => faults.progress(counts),
    rows: (): readonly Row[] => [
      ...livesRows(counts),
      ...faults.rows(),
      ["writes refused as stale", number(counts.fenced)],
    ],
  };
}

const endRows = (engines: number, found: string): readonly Row[] => [
  ["engines that tell all alike", number(engines)],
  ["engram verify", found],
];

const storeOf = (redis: Readonly<Record<string, string>>) => ({
  STORE_TYPE: "redis",
  ...redis,
  REDIS_KEY_PREFIX: keyPrefix,
});

/** `fenced`: steps that an engine gave up because another had taken its agent meanwhile. */
type FleetCounts = LivesCounts & { fenced: number };

type MemberParts = {
  readonly index: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly counts: FleetCounts;
  readonly report: (rule: string, detail: string) => void;
};

function makeMember(
  { folder, options, random, fleet }: FleetParts,
  { index, settings, counts, report }: MemberParts,
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
      ...storeOf(settings),
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

const timed =
  (note: (line: string) => void): ((line: string) => void) =>
  (line) =>
    note(`${new Date().toISOString().slice(11, -1)} ${line}`);

/** With every agent at rest nobody is due and nobody is driven any more. */
async function mustHaveNothingDue(
  redis: Looks,
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
