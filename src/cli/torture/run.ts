import { messageOf } from "../../errors.ts";
import type { ToolInfo } from "../../gen/engram/api/v1/agent_pb.ts";
import { tortureLimits } from "../../limits.ts";
import { selfCommand } from "../self.ts";
import { checkKept, play, type Stage } from "./cast.ts";
import { type ClientCounts, makeTortureClient, type TortureClient } from "./client.ts";
import { type Lives, makeLives } from "./engine.ts";
import { makeRandom, type Random } from "./random.ts";
import { makeRecovery, type Recovery } from "./recovery.ts";
import { type Outcome, violationText } from "./report.ts";
import type { Found, Subject } from "./subject.ts";

export type TortureOptions = {
  readonly minutes: number;
  readonly agents: number;
  /** Ends earlier after so many. */
  readonly kills: number;
  readonly seed: number;
  readonly toolsPath: string;
};

/** Share of the starts after which nothing is killed until every agent is going again. */
const calmShare = 0.08;
/** So that more than one page is asked for. */
const pageSize = 16;

type Run = {
  readonly options: TortureOptions;
  readonly folder: string;
  readonly random: Random;
  readonly lives: Lives;
  readonly recovery: Recovery;
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
  const calm = Promise.withResolvers<void>();
  let isCalm = false;
  await run.lives.begin();
  const looker = clientOf(run, "looker");
  const stage = makeStage(run, await toolsOf(looker), { calm: calm.promise, isCalm: () => isCalm });
  const progress = setInterval(() => print(progressText(run, stage)), tortureLimits.progressMs);
  const plays = Array.from({ length: options.agents }, (_, index) =>
    playOne(run, stage, `c${index}`),
  );
  const all = Promise.all(plays);
  let verified = "";
  try {
    await killUntilOver(run, stopped);
    isCalm = true;
    calm.resolve();
    await mustRest(run, all);
    await within(checkAll(run, stage, looker), tortureLimits.restMs, () => {
      const detail = "the engine did not answer the checks at the end";
      run.onViolation({ rule: "stuck", detail, agentId: "", trace: [] });
    });
    looker.close();
    await run.lives.stop();
    verified = await verify(run);
  } finally {
    clearInterval(progress);
    await run.lives.abandon();
  }
  return outcomeOf(run, stage, verified);
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
  const lives = makeLives({
    folder,
    settings: { TOOLS_PATH: options.toolsPath },
    random: random.named("lives"),
    report: (rule, detail) => onViolation({ rule, detail, agentId: "", trace: [] }),
  });
  return {
    options,
    folder,
    random,
    lives,
    recovery: makeRecovery(),
    calls: { acknowledged: 0, reconnects: 0, retries: 0, drops: 0 },
    found,
    onViolation,
    startedMs: performance.now(),
    playing: new Map(),
  };
}

const clientOf = ({ lives, recovery, random, calls }: Run, name: string): TortureClient =>
  makeTortureClient({
    name,
    lives,
    recovery,
    random: random.named(`streams of ${name}`),
    counts: calls,
  });

async function toolsOf(client: TortureClient): Promise<readonly ToolInfo[]> {
  const { tools } = await client.call((engine, options) => engine.listTools({}, options));
  return tools.filter(({ error }) => error === "");
}

const makeStage = (
  { lives, random, onViolation, playing }: Run,
  tools: readonly ToolInfo[],
  calm: Pick<Stage, "calm" | "isCalm">,
): Stage => ({
  ...calm,
  lives,
  random,
  tools,
  onViolation,
  counts: { turns: 0, revived: 0 },
  agentIds: new Set(),
  kept: [],
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

async function killUntilOver(run: Run, stopped: AbortSignal): Promise<void> {
  const { lives, recovery, options, startedMs } = run;
  const random = run.random.named("kills");
  const endMs = startedMs + options.minutes * 60_000;
  const over = new Promise<void>((resolve) => {
    stopped.addEventListener("abort", () => resolve());
  });
  const isOver = (): boolean =>
    stopped.aborted || performance.now() >= endMs || lives.counts.kills >= options.kills;
  for (;;) {
    const going = recovery.begin();
    const leftMs = Math.max(0, endMs - performance.now());
    if (random.chance(calmShare)) await mustGoAgain(run, going);
    else await Promise.race([over, Bun.sleep(Math.min(leftMs, gapMs(random)))]);
    if (isOver()) return;
    recovery.end();
    await lives.end();
    await lives.begin();
  }
}

/** From a few ms, where hardly anything was taken up yet, to two seconds. */
function gapMs(random: Random): number {
  if (random.chance(0.25)) return random.between(0, 30);
  return random.chance(0.65) ? random.between(30, 500) : random.between(500, 2_000);
}

async function mustGoAgain({ recovery, playing }: Run, going: Promise<void>): Promise<void> {
  await within(going, tortureLimits.goingMs, () => {
    for (const name of recovery.waiting())
      playing
        .get(name)
        ?.report("stuck", `nothing came of it for ${tortureLimits.goingMs} ms after a start`);
  });
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

async function within(
  promise: Promise<unknown>,
  limitMs: number,
  otherwise: () => void,
): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    otherwise();
    late.resolve();
  }, limitMs);
  await Promise.race([promise, late.promise]);
  clearTimeout(timer);
}

/** What is to hold of all agents together, once all of them rest. */
async function checkAll(run: Run, stage: Stage, client: TortureClient): Promise<void> {
  for (const kept of stage.kept) await checkKept(client, kept);
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
      report(agentId, `it is listed ${listed.get(agentId) ?? 0} times`);
  for (const agentId of listed.keys())
    if (!stage.agentIds.has(agentId)) report(agentId, "it is listed, and no client was told of it");
}

/** The engine's own look at the data folder. */
async function verify({ folder, onViolation }: Run): Promise<string> {
  const child = Bun.spawn([...selfCommand, "verify"], {
    cwd: folder,
    env: { DB_PATH: `${folder}/data` },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  const said = `${stdout}${stderr}`.trim();
  if (exitCode !== 0)
    onViolation({
      rule: "verify",
      detail: `exit code ${exitCode}: ${said.slice(0, 2_000)}`,
      agentId: "",
      trace: [],
    });
  return stdout.trim().split("\n").at(-1) ?? "";
}

const seconds = ({ startedMs }: Run): number => (performance.now() - startedMs) / 1_000;

const progressText = (run: Run, stage: Stage): string =>
  `${Math.round(seconds(run))} s: ${run.lives.counts.kills} kills, ${stage.agentIds.size} agents, ` +
  `${stage.counts.turns} turns, ${run.calls.acknowledged} messages acknowledged, ${run.found.length} violations\n`;

function outcomeOf(run: Run, stage: Stage, verified: string): Outcome {
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
    lives: run.lives.counts,
    calls: run.calls,
    stories: stage.counts,
    seen,
    goingMs: run.recovery.goingMs,
    verified,
    found: run.found,
  };
}
