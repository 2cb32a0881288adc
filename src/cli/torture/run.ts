import { messageOf } from "../../errors.ts";
import type { ToolInfo } from "../../gen/engram/api/v1/agent_pb.ts";
import { checkKept, play, type Stage } from "./cast.ts";
import { type ClientCounts, makeTortureClient, type TortureClient } from "./client.ts";
import { makeFleetWorld } from "./fleet.ts";
import { makeLoneWorld } from "./lone.ts";
import type { TortureOptions } from "./options.ts";
import { makeRandom, type Random } from "./random.ts";
import { type Outcome, violationText } from "./report.ts";
import type { Row } from "./rows.ts";
import type { Found, Subject } from "./subject.ts";
import { type Host, within, type World, type WorldParts } from "./world.ts";
import { fleetLimits, tortureLimits } from "./torture-limits.ts";

/** So that more than one page is asked for. */
const pageSize = 16;

type Run = {
  readonly options: TortureOptions;
  readonly random: Random;
  readonly world: World;
  readonly calls: ClientCounts;
  readonly found: readonly Found[];
  readonly onViolation: (found: Found) => void;
  readonly startedMs: number;
  /** The agent that each client is playing with. */
  readonly playing: Map<string, Subject>;
};

const print = (text: string): void => void process.stdout.write(text);

/** Kills, checks and counts; `stopped` ends the killing early. */
export async function runTorture(
  options: TortureOptions,
  folder: string,
  stopped: AbortSignal,
): Promise<Outcome> {
  const run = makeRun(options, folder);
  const { world } = run;
  const calm = Promise.withResolvers<void>();
  let isCalm = false;
  let verified: readonly Row[] = [];
  let progress: ReturnType<typeof setInterval> | undefined;
  try {
    await world.begin();
    const looker = clientOf(run, "looker");
    const tools = await toolsOf(looker);
    looker.close();
    const stage = makeStage(run, tools, { calm: calm.promise, isCalm: () => isCalm });
    progress = setInterval(() => print(progressText(run, stage)), tortureLimits.progressMs);
    const plays = Array.from({ length: options.agents }, (_, index) =>
      playOne(run, stage, `c${index}`),
    );
    const all = Promise.all(plays);
    await world.torment(stopped);
    isCalm = true;
    calm.resolve();
    await mustRest(run, all);
    await within(checkEach(run, stage), tortureLimits.restMs, () => {
      const detail = "the engines did not answer the checks at the end";
      run.onViolation({ rule: "stuck", detail, agentId: "", trace: [] });
    });
    verified = await world.end();
    return outcomeOf(run, stage, verified);
  } finally {
    clearInterval(progress);
    await world.abandon();
  }
}

function makeRun(options: TortureOptions, folder: string): Run {
  const random = makeRandom(options.seed);
  const found: Found[] = [];
  const known = new Set<string>();
  const onViolation = (violation: Found): void => {
    const key = `${violation.agentId} ${violation.rule} ${violation.detail}`;
    if (known.has(key)) return;
    known.add(key);
    found.push(violation);
    print(violationText(violation));
  };
  const playing = new Map<string, Subject>();
  return {
    options,
    random,
    world: makeWorld({ options, folder, random, onViolation, playing }),
    calls: { acknowledged: 0, reconnects: 0, retries: 0, drops: 0, silences: 0 },
    found,
    onViolation,
    startedMs: performance.now(),
    playing,
  };
}

const makeWorld = (parts: WorldParts): World =>
  parts.options.fleet === null
    ? makeLoneWorld(parts)
    : makeFleetWorld({ ...parts, fleet: parts.options.fleet });

function clientOf({ world, random, calls }: Run, name: string, host?: Host): TortureClient {
  const { audience } = world;
  return makeTortureClient({
    name,
    host: host ?? world.host(random.named(`engines of ${name}`)),
    audience,
    random: random.named(`streams of ${name}`),
    counts: calls,
  });
}

async function toolsOf(client: TortureClient): Promise<readonly ToolInfo[]> {
  const { tools } = await client.call((engine, options) => engine.listTools({}, options));
  return tools.filter(({ error }) => error === "");
}

const makeStage = (
  { random, world, onViolation, playing }: Run,
  tools: readonly ToolInfo[],
  calm: Pick<Stage, "calm" | "isCalm">,
): Stage => ({
  ...calm,
  random,
  tools,
  onViolation,
  counts: { turns: 0, revived: 0 },
  agentIds: new Set(),
  kept: [],
  paceMsMax: world.paceMsMax,
  plays: (name, subject) => void playing.set(name, subject),
});

/** A client whose story breaks off has met an answer that no client should get. */
async function playOne(run: Run, stage: Stage, name: string): Promise<void> {
  const client = clientOf(run, name);
  try {
    await play(stage, client, name);
  } catch (error) {
    const subject = run.playing.get(name);
    const detail = messageOf(error);
    // What the engine says to a client that has seen an event which is not there.
    const rule = detail.includes("resume_from_sequence") ? "lost event" : "refused";
    if (subject === undefined) run.onViolation({ rule, detail, agentId: "", trace: [] });
    else subject.report(rule, detail);
  } finally {
    run.playing.delete(name);
    client.close();
  }
}

async function mustRest({ playing }: Run, all: Promise<unknown>): Promise<void> {
  await within(all, tortureLimits.restMs, () => {
    for (const subject of playing.values())
      subject.report(
        "stuck",
        `it had not come to rest ${tortureLimits.restMs} ms after the last kill`,
      );
  });
}

/** What is to hold of all agents together, once all of them rest, whichever engine is asked. */
async function checkEach(run: Run, stage: Stage): Promise<void> {
  for (const host of run.world.each()) {
    const client = clientOf(run, "looker", host);
    await checkAll(run, stage, client);
    client.close();
  }
}

async function checkAll(run: Run, stage: Stage, client: TortureClient): Promise<void> {
  const { name } = await client.host.now();
  const left = stage.kept.values();
  const check = async (): Promise<void> => {
    for (const kept of left) await checkKept(client, kept, name);
  };
  await Promise.all(Array.from({ length: fleetLimits.comparedAtOnce }, check));
  const listed = new Map<string, number>();
  for (let pageToken = ""; ;) {
    const query = { pageSize, pageToken };
    const page = await client.call((engine, options) => engine.listAgents(query, options));
    for (const { agentId } of page.agents) listed.set(agentId, (listed.get(agentId) ?? 0) + 1);
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  const report = (agentId: string, detail: string): void =>
    run.onViolation({ rule: "wrong listing", detail, agentId, trace: [] });
  for (const agentId of stage.agentIds)
    if (listed.get(agentId) !== 1)
      report(agentId, `${name} lists it ${listed.get(agentId) ?? 0} times`);
  for (const agentId of listed.keys())
    if (!stage.agentIds.has(agentId))
      report(agentId, `${name} lists it, and no client was told of it`);
}

const seconds = ({ startedMs }: Run): number => (performance.now() - startedMs) / 1_000;

const progressText = (run: Run, stage: Stage): string =>
  `${Math.round(seconds(run))} s: ${run.world.progress()}, ${stage.agentIds.size} agents, ` +
  `${stage.counts.turns} turns, ${run.calls.acknowledged} messages acknowledged, ${run.found.length} violations\n`;

function outcomeOf(run: Run, stage: Stage, verified: readonly Row[]): Outcome {
  const seen = { events: 0, deltas: 0, bytes: 0, begunAnew: 0, toolResults: 0 };
  for (const { counts } of stage.kept) {
    seen.events += counts.events;
    seen.deltas += counts.deltas;
    seen.bytes += counts.bytes;
    seen.begunAnew += counts.begunAnew;
    seen.toolResults += counts.toolResults;
  }
  return {
    seed: run.options.seed,
    seconds: seconds(run),
    clients: run.options.agents,
    agents: stage.agentIds.size,
    deeds: run.world.rows(),
    calls: run.calls,
    stories: stage.counts,
    seen,
    verified,
    found: run.found,
  };
}
