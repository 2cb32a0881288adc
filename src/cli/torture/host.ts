import type { Lives } from "./engine.ts";
import type { Random } from "./random.ts";
import type { Host, Life } from "./world.ts";
import { fleetLimits } from "./torture-limits.ts";

type Engine = Pick<Lives, "now" | "current">;

/** A client notices an engine that keeps silent, and often leaves, so that it comes to one that another's agent is shown by. */
const manners = {
  silenceMs: fleetLimits.silenceMs,
  retryMs: fleetLimits.retryMs,
  dropShare: 0.15,
} as const;

/** One engine by itself. */
export const hostOf = ({ now }: Engine): Host => ({ ...manners, now, leave: () => {} });

/** Share of the calls and streams before which a client changes its engine. */
const movedShare = 0.1;

/** The engines as one client sees them: it stays with one until that fails it, and now and then goes to another. */
export function hostAmong(engines: readonly Engine[], random: Random): Host {
  let chosen: Life | null = null;
  let left: Life | null = null;
  return {
    ...manners,
    now: async () => {
      for (;;) {
        const there = engines.flatMap(({ current }) => current() ?? []);
        const others = there.filter((life) => life !== left);
        const [first, ...rest] = others.length > 0 ? others : there;
        if (first === undefined) {
          await Promise.race(engines.map(({ now }) => now()));
          continue;
        }
        const choice = [first, ...rest] as const;
        const stays = choice.find((life) => life === chosen);
        if (stays !== undefined && !random.chance(movedShare)) return stays;
        chosen = random.pick(choice);
        return chosen;
      }
    },
    leave: (life) => {
      left = life;
    },
  };
}
