import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event } from "../../src/agent/event.ts";
import {
  type ClockLife,
  liveByTheClock,
  type Moment,
  moments,
  retryAfterMs,
  type Scene,
} from "../support/clock-life.ts";
import { quickBackends } from "../support/quick-stores.ts";
import { seeded } from "../support/seed.ts";

const dayMs = 86_400_000;
/** The world's, by which it also moves on from a crash. */
const leaseTtlMs = 1_000;
const jumps = [
  ["a day forth", dayMs],
  ["a day back", -dayMs],
  ["back by the length of the back-off", -retryAfterMs],
] as const;

/** All that a clock that is set must not change. */
function gist({ log, calledMs, tookMs, faults, state }: ClockLife): unknown {
  const timeless = ({ type, workedMs, ...rest }: Event): unknown => {
    const text = "content" in rest ? rest.content : "";
    return `${type} ${workedMs} ${text}`;
  };
  const events = log.map(({ event }) => timeless(event));
  return { events, calledMs, tookMs, faults, workedMs: state.stats.workedMs };
}

/** From the first model call, which fails at once, to the second. */
const waitedMs = ({ calledMs: [first = 0, second = Infinity] }: ClockLife): number =>
  second - first;

const nothing = (): void => {};
const jumpAt =
  (when: Moment, byMs: number) =>
  (moment: Moment, { clock }: Scene): void => {
    if (moment === when) clock.jump(byMs);
  };

/** What the life works: the back-off, eleven words and ends, and the tool. */
const workMs = 55_000;
/** The clock is moved on by so much at once. */
const tickMs = 100;
/** A renewal is due every third of a lease. */
const untoldMsMax = 400 + tickMs;
/** A word, or the tool, is begun again after a crash. */
const againMsMax = 1_000 + tickMs;

describe.each(quickBackends)("a wall clock that is set: $name", ({ name, fixture }) => {
  test("is not what a life's work is measured by", async () => {
    const { state, tookMs } = await liveByTheClock({ fixture, at: nothing });
    expect(state.stats.workedMs).toBe(workMs);
    expect(tookMs).toBe(workMs + 10_000);
  });

  describe.each(jumps)("%s", (_, byMs) => {
    test.each(moments)("%s changes nothing of a life", async (moment) => {
      // Any more work would end the turn.
      const config = { durationMsMax: workMs + 1 };
      const free = await liveByTheClock({ fixture, config, at: nothing });
      const lived = await liveByTheClock({ fixture, config, at: jumpAt(moment, byMs) });
      expect(gist(lived)).toEqual(gist(free));
      expect(lived.log.at(-1)?.event).toMatchObject({ content: "this is what it said" });
    });

    test.each(moments)("%s lets a turn end when its time is over, to the ms", async (moment) => {
      const config = { durationMsMax: workMs - 1_000 };
      const free = await liveByTheClock({ fixture, config, at: nothing });
      const lived = await liveByTheClock({ fixture, config, at: jumpAt(moment, byMs) });
      expect(lived.state.reason).toStartWith("MAX_DURATION");
      expect(gist(lived)).toEqual(gist(free));
    });
  });

  describe.each([["at all", 0], ...jumps] as const)(
    "%s between a crash and the restart",
    (_, byMs) => {
      const crashAt =
        (when: Moment) =>
        (moment: Moment, { clock, world }: Scene): void => {
          if (moment !== when) return;
          world.crash();
          clock.jump(byMs);
        };

      test.each(moments)("%s loses no more work than was not yet told", async (moment) => {
        const config = { durationMsMax: workMs + againMsMax };
        const lived = await liveByTheClock({ fixture, config, at: crashAt(moment) });
        const { faults, log, state } = lived;
        expect(faults).toEqual([]);
        expect(log.at(-1)?.event).toMatchObject({ content: "this is what it said" });
        const waits = moment === "in a retry's back-off";
        // A clock set back by less than it went on since looks like a time that is not over yet.
        const longest = waits && byMs === -retryAfterMs ? 2 * retryAfterMs : retryAfterMs;
        expect(waitedMs(lived)).toBeLessThanOrEqual(longest + tickMs);
        if (byMs === 0 && waits) expect(waitedMs(lived)).toBeGreaterThanOrEqual(retryAfterMs);
        // How much of a pause is over cannot be known where the clock was set back while nobody looked at it.
        const untold = waits && byMs < 0 ? retryAfterMs : untoldMsMax;
        expect(state.stats.workedMs).toBeLessThanOrEqual(workMs + againMsMax);
        expect(state.stats.workedMs).toBeGreaterThanOrEqual(workMs - untold);
      });

      test.each(moments)("%s lets a turn end when its time is over", async (moment) => {
        const config = { durationMsMax: workMs - 2_500 };
        const free = await liveByTheClock({ fixture, config, at: nothing });
        const lived = await liveByTheClock({ fixture, config, at: crashAt(moment) });
        if (moment === "in a retry's back-off" && byMs < 0) return;
        expect(lived.state.reason).toStartWith("MAX_DURATION");
        expect(lived.tookMs).toBeLessThanOrEqual(free.tookMs + untoldMsMax + leaseTtlMs);
      });
    },
  );

  test("before all and never again: a restart waits for the rest of a back-off, no longer", async () => {
    for (const [, byMs] of jumps) {
      const lived = await liveByTheClock({
        fixture,
        at: (moment, { clock, world }) => {
          if (moment === "before its goal") clock.jump(byMs);
          if (moment === "in a retry's back-off") world.crash();
        },
      });
      expect(waitedMs(lived) - retryAfterMs).toBeWithin(0, tickMs);
      expect(lived.state.stats.workedMs - workMs).toBeWithin(0, tickMs);
    }
  });

  test("in a back-off, with commands behind it, makes no wait longer", async () => {
    for (const [, byMs] of jumps)
      for (const restarts of [false, true]) {
        const lived = await liveByTheClock({
          fixture,
          at: async (moment, { clock, world, agentId }) => {
            if (moment !== "in a retry's back-off") return;
            clock.jump(byMs);
            await world.send(agentId, { type: "Edit", change: (spec) => spec, description: "" });
            await world.send(agentId, { type: "Pause", reason: "" });
            await world.send(agentId, { type: "Resume" });
            if (restarts) world.crash();
          },
        });
        expect(waitedMs(lived)).toBeLessThanOrEqual(retryAfterMs + tickMs);
        expect(lived.faults).toEqual([]);
      }
  });

  test("again and again, anywhere, ends no turn early, and waits at most once more", async () => {
    const anyJump = fc.record({
      afterMs: fc.nat({ max: workMs + 10_000 }),
      byMs: fc.oneof(
        fc.integer({ min: -2 * dayMs, max: 2 * dayMs }),
        fc.integer({ min: -60_000, max: 60_000 }),
      ),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyJump, { maxLength: 6 }),
        fc.option(fc.constantFrom(...moments)),
        async (set, crashesAt) => {
          const lived = await liveByTheClock({
            fixture,
            config: { durationMsMax: workMs + againMsMax },
            at: (moment, { clock, world }) => {
              if (moment === "before its goal")
                for (const { afterMs, byMs } of set) clock.after(afterMs, () => clock.jump(byMs));
              if (moment === crashesAt) world.crash();
            },
          });
          expect(lived.faults).toEqual([]);
          expect(lived.log.at(-1)?.event).toMatchObject({ content: "this is what it said" });
          expect(lived.state.stats.workedMs).toBeLessThanOrEqual(workMs + againMsMax);
          expect(waitedMs(lived)).toBeLessThanOrEqual(2 * retryAfterMs + tickMs);
        },
      ),
      seeded(name === "memory" ? 60 : 25),
    );
  });
});
