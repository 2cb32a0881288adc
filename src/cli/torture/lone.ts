import { livesRows, makeLives, noCounts } from "./engine.ts";
import type { Random } from "./random.ts";
import { makeRecovery } from "./recovery.ts";
import { type Row, times } from "./rows.ts";
import { type Host, within, type World, type WorldParts } from "./world.ts";
import { tortureLimits } from "./torture-limits.ts";
import { verify } from "./verify.ts";

/** Share of the starts after which nothing is killed until every agent is going again. */
const calmShare = 0.08;
/** Share of the ends that come by SIGTERM. */
const stoppedShare = 0.1;

/** One engine with a data folder of its own. */
export function makeLoneWorld(parts: WorldParts): World {
  const { folder, options, playing } = parts;
  const random = parts.random.named("kills");
  const report = (rule: string, detail: string): void =>
    parts.onViolation({ rule, detail, agentId: "", trace: [] });
  const counts = noCounts();
  const lives = makeLives({
    name: "engine",
    folder,
    settings: { TOOLS_PATH: options.toolsPath },
    random: parts.random.named("lives"),
    counts,
    report,
    onLine: () => {},
  });
  const recovery = makeRecovery();
  const host: Host = {
    now: lives.now,
    leave: () => {},
    silenceMs: null,
    retryMs: tortureLimits.retryMs,
    dropShare: 0.08,
  };
  const mustGoAgain = (going: Promise<void>): Promise<void> =>
    within(going, tortureLimits.goingMs, () => {
      const detail = `nothing came of it for ${tortureLimits.goingMs} ms after a start`;
      for (const name of recovery.waiting()) playing.get(name)?.report("stuck", detail);
    });
  return {
    begin: lives.begin,
    host: () => host,
    audience: recovery,
    paceMsMax: 8,
    torment: async (stopped) => {
      const endMs = performance.now() + options.minutes * 60_000;
      const over = new Promise<void>((resolve) => {
        stopped.addEventListener("abort", () => resolve());
      });
      const isOver = (): boolean =>
        stopped.aborted || performance.now() >= endMs || counts.kills >= options.kills;
      for (;;) {
        const going = recovery.begin();
        const leftMs = Math.max(0, endMs - performance.now());
        if (random.chance(calmShare)) await mustGoAgain(going);
        else await Promise.race([over, Bun.sleep(Math.min(leftMs, gapMs(random)))]);
        if (isOver()) return;
        recovery.end();
        await (random.chance(stoppedShare) ? lives.terminate() : lives.kill());
        await lives.begin();
      }
    },
    each: () => [host],
    end: async () => {
      await lives.stop();
      return [["engram verify", await verify(folder, { DB_PATH: `${folder}/data` }, report)]];
    },
    abandon: lives.abandon,
    progress: () => `${counts.kills} kills`,
    rows: (): readonly Row[] => [
      ...livesRows(counts),
      ["ready to all going again", times(recovery.goingMs)],
    ],
  };
}

/** From a few ms, where hardly anything was taken up yet, to two seconds. */
function gapMs(random: Random): number {
  if (random.chance(0.25)) return random.between(0, 30);
  return random.chance(0.65) ? random.between(30, 500) : random.between(500, 2_000);
}
