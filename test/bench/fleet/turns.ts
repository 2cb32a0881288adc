import type { RedisServer } from "../../support/redis-server.ts";
import type { Report } from "../report.ts";
import { digits, median } from "../samples.ts";
import { type RedisWork, workOf } from "./engines.ts";
import { type Member, openMember } from "./member.ts";
import { newTalker, type Talker } from "./talker.ts";

/** Steps at once in one engine: 8 that take 50 ms each are 160 turns/s, for which an engine needs less than half a core. */
const waiting = { modelMs: 50, concurrency: 8 } as const;
/** So many that the steps of both engines are always taken. */
const clients = 64;
const rounds = 3;
const roundMs = 2_500;
const warmUpMs = 500;

/** Every talker says the next thing as soon as it has the answer, until the time is over; the turns that came to their end. */
async function talkFor(talkers: readonly Talker[], forMs: number): Promise<number> {
  const endMs = performance.now() + forMs;
  let turns = 0;
  const talk = async (talker: Talker): Promise<void> => {
    while (performance.now() < endMs) {
      await talker.turn();
      if (performance.now() < endMs) turns++;
    }
  };
  await Promise.all(talkers.map(talk));
  return turns;
}

/** As many clients at each member. */
const talkersAt = (...members: readonly Member[]): Promise<readonly Talker[]> =>
  Promise.all(
    Array.from({ length: clients / members.length }, () =>
      members.map(({ engine }) => newTalker(engine, "stand-in")),
    ).flat(),
  );

type Way = {
  readonly name: string;
  readonly members: readonly Member[];
  readonly talkers: readonly Talker[];
  readonly rounds: Round[];
};

/** What two engines do in the time of one when their steps wait for a model, and what a turn costs them. */
export async function benchTurns(report: Report, redis: RedisServer): Promise<void> {
  await using sqlite = await openMember(null, "", waiting);
  await using one = await openMember(redis, "one", waiting);
  await using left = await openMember(redis, "two", waiting);
  await using right = await openMember(redis, "two", waiting);
  const both = [left, right];
  const ways: readonly Way[] = [
    { name: "one, SQLite", members: [sqlite], talkers: await talkersAt(sqlite), rounds: [] },
    { name: "one", members: [one], talkers: await talkersAt(one), rounds: [] },
    { name: "two, clients at both", members: both, talkers: await talkersAt(...both), rounds: [] },
    { name: "two, clients at one", members: both, talkers: await talkersAt(left), rounds: [] },
  ];
  for (const { talkers } of ways) await talkFor(talkers, warmUpMs);
  // Alternating, so that what else the machine does falls on all.
  for (let round = 0; round < rounds; round++)
    for (const way of ways) way.rounds.push(await measured(way, redis));
  for (const { talkers } of ways) await Promise.all(talkers.map((talker) => talker.close()));
  show(report, ways);
}

/** The rate and the first engine's share of it; all else is of one turn. */
type Round = Record<"rate" | "share" | "engineMs" | keyof RedisWork, number>;

const stepsOf = (members: readonly Member[]): number =>
  members.reduce((sum, member) => sum + member.steps(), 0);
const processorMsOf = (members: readonly Member[]): number =>
  members.reduce((sum, member) => sum + member.processorMs(), 0);

async function measured({ members, talkers }: Way, redis: RedisServer): Promise<Round> {
  const before = { redis: workOf(redis), ms: processorMsOf(members), steps: stepsOf(members) };
  const firstBefore = stepsOf(members.slice(0, 1));
  const turns = await talkFor(talkers, roundMs);
  const steps = stepsOf(members) - before.steps;
  const work = workOf(redis);
  const each = (name: keyof RedisWork): number => (work[name] - before.redis[name]) / steps;
  return {
    rate: (1000 * turns) / roundMs,
    share: (stepsOf(members.slice(0, 1)) - firstBefore) / steps,
    engineMs: (processorMsOf(members) - before.ms) / steps,
    processorMs: each("processorMs"),
    reads: each("reads"),
    commands: each("commands"),
    bytes: each("bytes"),
  };
}

function show(report: Report, ways: readonly Way[]): void {
  const of = ({ rounds: all }: Way, name: keyof Round): number =>
    median(all.map((round) => round[name]));
  report.line(
    `  ${clients} clients, a model that takes ${waiting.modelMs} ms, WORKER_CONCURRENCY=${waiting.concurrency}: ` +
      "waiting is what bounds an engine",
  );
  report.table(
    ["engines", "turns/s", "noise", "first's share"],
    ways.map((way) => {
      const rates = way.rounds.map(({ rate }) => rate);
      const noise = (Math.max(...rates) - Math.min(...rates)) / of(way, "rate");
      return [
        way.name,
        digits(of(way, "rate"), 0),
        `${digits(50 * noise, 0)} %`,
        `${digits(100 * of(way, "share"), 0)} %`,
      ];
    }),
  );
  report.table(
    ["a turn costs", "engines' CPU ms", "Redis' CPU ms", "reads", "commands", "bytes"],
    ways.map((way) => [
      way.name,
      digits(of(way, "engineMs")),
      digits(of(way, "processorMs")),
      digits(of(way, "reads"), 1),
      digits(of(way, "commands"), 0),
      digits(of(way, "bytes"), 0),
    ]),
  );
  const [, one = Number.NaN, both = Number.NaN, atOne = Number.NaN] = ways.map((way) =>
    of(way, "rate"),
  );
  for (const [where, rate] of [
    ["both", both],
    ["one", atOne],
  ] as const)
    report.goal({
      name: `time for a turn with two engines to that with one, clients at ${where}`,
      figure: one / rate,
      atMost: 0.67,
      unit: "x",
    });
}

const shortTurns = 1_000;

/** How 1,000 turns, said to an engine that drives none, are shared out between two with room for all. */
export async function benchShares(report: Report, redis: RedisServer): Promise<void> {
  const instant = { modelMs: 0, concurrency: clients };
  await using front = await openMember(redis, "share", { modelMs: 0, concurrency: 0 });
  await using left = await openMember(redis, "share", instant);
  await using right = await openMember(redis, "share", instant);
  const talkers = await talkersAt(front);
  await Promise.all(talkers.map((talker) => talker.turn()));
  const before = { left: left.steps(), right: right.steps(), redis: workOf(redis) };
  let turns = 0;
  const startMs = performance.now();
  const talk = async (talker: Talker): Promise<void> => {
    while (turns++ < shortTurns) await talker.turn();
  };
  await Promise.all(talkers.map(talk));
  const tookMs = performance.now() - startMs;
  const commands = workOf(redis).commands - before.redis.commands;
  await Promise.all(talkers.map((talker) => talker.close()));
  const shares = [left.steps() - before.left, right.steps() - before.right];
  report.table(
    [`${shortTurns} short turns by two engines with room, said to a third`, "", ""],
    [
      ["steps of each", ...shares.map(String)],
      ["turns/s", digits((1000 * shortTurns) / tookMs, 0), ""],
      ["commands of Redis a turn", digits(commands / shortTurns, 0), ""],
    ],
  );
  report.goal({
    name: "the greater share to the smaller",
    figure: Math.max(...shares) / Math.min(...shares),
    atMost: 2,
    unit: "x",
  });
}
