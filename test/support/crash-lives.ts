import { EngramError } from "../../src/errors.ts";
import type { AgentSpec } from "../../src/agent/event.ts";
import { engineLimits } from "../../src/limits.ts";
import { born } from "./events.ts";
import { type CrashWorld, type Ending, openCrashWorld } from "./crash-world.ts";
import {
  askedOf,
  callingInText,
  makePlayedModel,
  partialOf,
  type PlayedModel,
  type PlayedReply,
  unlessAborted,
} from "./played-model.ts";
import { makePlayedSandbox, type PlayedSandbox } from "./played-sandbox.ts";
import type { Backend } from "./stores.ts";

/** What a life was made of and what it came to. */
export type Lived = {
  readonly endings: readonly Ending[];
  readonly model: PlayedModel;
  readonly sandbox: PlayedSandbox;
  /** Broken promises seen on the way. */
  readonly faults: readonly string[];
  readonly crashes: number;
  readonly points: number;
  readonly snapshotsUsed: number;
};

/** A life of an agent and its client; answers the ids of the agents it made. */
type Life = {
  readonly name: string;
  readonly play: (world: CrashWorld, gate: { open(): void }) => Promise<readonly string[]>;
  /** The model cannot go on with a partial answer. */
  readonly forgetful?: boolean;
  /** The model says something else at each call: only what was promised to the client can be compared. */
  readonly drifting?: boolean;
  /** The model takes no tools as such. */
  readonly inText?: boolean;
  /** The model makes the same call again and again. */
  readonly repeating?: boolean;
};

const { snapshotEventsMin } = engineLimits;
const { type: _type, parent: _parent, ...spec } = born({ enableObservation: true });
const goal = (text: string) => ({ ...spec, goal: text });

const answered =
  (text: string) =>
  async (world: CrashWorld): Promise<readonly string[]> => {
    const agentId = await world.create(goal(text));
    await world.untilSettled(agentId);
    return [agentId];
  };

/** An agent whose answer has to satisfy a schema; where that fails, it is retried once. */
const held =
  (property: string, noTools = false): Life["play"] =>
  async (world) => {
    const responseSchema = {
      type: "object",
      properties: { [property]: { type: "integer" } },
      required: [property],
    };
    const config = { ...spec.config, responseSchema, noTools };
    const agentId = await world.create({ ...goal(noTools ? "form" : "held to it"), config });
    await world.untilSettled(agentId);
    const { state } = await world.ending(agentId);
    if (state.lifecycle === "failed") await world.send(agentId, { type: "Retry" });
    await world.untilSettled(agentId);
    return [agentId];
  };

const repeated: Life["play"] = async (world) => {
  const agentId = await world.create(goal("again"));
  await world.untilStatus(agentId, "failed");
  await world.send(agentId, { type: "Retry" });
  await world.untilSettled(agentId);
  return [agentId];
};

const confirmed =
  (approve: boolean) =>
  async (world: CrashWorld): Promise<readonly string[]> => {
    const agentId = await world.create(goal("risky"));
    await world.untilStatus(agentId, "waiting_for_confirmation");
    const callId = (await world.ending(agentId)).state.pendingCalls[0]!.callId;
    await world.send(agentId, { type: "Confirm", callId, approve, reason: "" });
    await world.untilSettled(agentId);
    return [agentId];
  };

/** Lets the model write its first two words, and no more while the gate is closed. */
const begun = async (world: CrashWorld): Promise<string> => {
  const agentId = await world.create(goal("held"));
  await world.until("two words are seen", () => world.watcher(agentId).textBytes() >= 4);
  return agentId;
};

const paused: Life["play"] = async (world, gate) => {
  const agentId = await begun(world);
  await world.send(agentId, { type: "Pause", reason: "wait" });
  await world.send(agentId, { type: "Say", content: "plain", attachments: [] });
  await world.untilSettled(agentId);
  gate.open();
  await world.send(agentId, { type: "Resume" });
  await world.untilSettled(agentId);
  return [agentId];
};

const canceled: Life["play"] = async (world) => {
  const agentId = await begun(world);
  await world.send(agentId, { type: "Cancel" });
  await world.untilSettled(agentId);
  return [agentId];
};

const busy: Life["play"] = async (world, gate) => {
  const agentId = await begun(world);
  await world.send(agentId, { type: "Say", content: "plain", attachments: [] });
  gate.open();
  await world.untilSettled(agentId);
  return [agentId];
};

const retried: Life["play"] = async (world, gate) => {
  const agentId = await world.create(goal("broken"));
  await world.untilStatus(agentId, "failed");
  gate.open();
  await world.send(agentId, { type: "Retry" });
  await world.untilSettled(agentId);
  return [agentId];
};

const edited: Life["play"] = async (world, gate) => {
  const agentId = await begun(world);
  const change = (before: AgentSpec): AgentSpec => ({ ...before, systemPrompt: "be brief" });
  await world.send(agentId, { type: "Edit", change, description: "be brief from now on" });
  gate.open();
  await world.untilSettled(agentId);
  await world.send(agentId, { type: "Say", content: "plain", attachments: [] });
  await world.untilSettled(agentId);
  return [agentId];
};

const reopened: Life["play"] = async (world) => {
  const agentId = await world.create(goal("final"));
  await world.untilSettled(agentId);
  await world.send(agentId, { type: "Say", content: "tools", attachments: [] });
  await world.untilSettled(agentId);
  return [agentId];
};

/** Long enough for some snapshots; what comes about where one is due can be broken off. */
const long: Life["play"] = async (world) => {
  const agentId = await world.create(goal("plain"));
  await world.untilSettled(agentId);
  for (const asked of ["tools", "think", "plain"]) {
    const { sequence } = (await world.ending(agentId)).state;
    const snapshotAt = sequence - (sequence % snapshotEventsMin) + snapshotEventsMin;
    await world.safely(async () => {
      for (let left = snapshotAt - 4 - sequence; left > 0; left -= 2) await rest(world, agentId);
    });
    await rest(world, agentId);
    await world.send(agentId, { type: "Say", content: asked, attachments: [] });
    await world.untilSettled(agentId);
  }
  return [agentId];
};

const rest = async (world: CrashWorld, agentId: string): Promise<void> => {
  await world.send(agentId, { type: "Pause", reason: "" });
  await world.send(agentId, { type: "Resume" });
};

const forked: Life["play"] = async (world) => {
  const parentId = await world.create(goal("tools"));
  await world.untilSettled(parentId);
  const agentId = await world.fork(parentId, 1);
  await world.send(agentId, { type: "Say", content: "think", attachments: [] });
  await world.untilSettled(agentId);
  return [parentId, agentId];
};

export const lives: readonly Life[] = [
  { name: "text", play: answered("plain") },
  { name: "thinking", play: answered("think") },
  { name: "two tools at once", play: answered("tools") },
  { name: "an approved tool", play: confirmed(true) },
  { name: "a rejected tool", play: confirmed(false) },
  { name: "a pause in mid-answer", play: paused },
  { name: "a cancel in mid-answer", play: canceled },
  { name: "input that joins the next step", play: busy },
  { name: "a retry of a failed turn", play: retried },
  { name: "an edit under way", play: edited },
  { name: "a final answer that is reopened", play: reopened },
  { name: "a fork", play: forked },
  { name: "a final answer", play: answered("final") },
  { name: "tools called in the text", play: answered("marked"), inText: true },
  { name: "an approved tool called in the text", play: confirmed(true), inText: true },
  { name: "a final answer in the text", play: answered("marked final"), inText: true },
  { name: "a model that fails once", play: answered("faulty") },
  { name: "a model that cannot continue", play: answered("think"), forgetful: true },
  { name: "a model that never repeats itself", play: answered("plain"), drifting: true },
  { name: "an answer that is wrong at first", play: held("n") },
  { name: "an answer that is always wrong", play: held("never") },
  { name: "an answer in a format that is wrong at first", play: held("n", true) },
  { name: "an answer in a format that is always wrong", play: held("never", true) },
  { name: "the same call again and again", play: repeated, repeating: true },
  { name: "many events, with snapshots", play: long },
];

/** Lives it, with the engine dying at these points. */
export async function live(
  { play, forgetful = false, drifting = false, inText = false, repeating = false }: Life,
  fixture: Backend["fixture"],
  crashAt: ReadonlySet<number>,
): Promise<Lived> {
  const gate = Promise.withResolvers<void>();
  const faults: string[] = [];
  let isOpen = false;
  void gate.promise.then(() => (isOpen = true));
  const say = (name: string): PlayedReply => {
    if (name === "broken" && !isOpen) throw new EngramError("model_error", "this never works");
    return replies[name] ?? replyTo(name, gate.promise);
  };
  const played = makePlayedModel((request, number) => {
    const name = askedOf(request.messages);
    const reply = say(inText && name === "risky" ? "marked risky" : name);
    return drifting ? drifted(partialOf(request.messages), number) : failing(reply, number);
  }, !forgetful);
  const model = inText ? callingInText(played) : played;
  const sandbox = makePlayedSandbox(async (call) => {
    for (const agentId of repeating ? [] : made) {
      const { log } = await world.ending(agentId);
      if (log.some(({ event }) => event.type === "ToolReturned" && event.output === call.inputJson))
        faults.push(`the call ${call.inputJson} has a result and ran again`);
    }
    return {};
  });
  const made: string[] = [];
  const world = openCrashWorld({ fixture, model, sandbox, crashAt });
  const noted: CrashWorld = {
    ...world,
    create: async (it) => {
      const agentId = await world.create(it);
      made.push(agentId);
      return agentId;
    },
  };
  try {
    const agentIds = await play(noted, { open: gate.resolve });
    const endings = await Promise.all(agentIds.map(world.ending));
    for (const agentId of agentIds) {
      faults.push(...world.watcher(agentId).faults);
      const delusion = await world.delusion(agentId);
      if (delusion !== null) faults.push(`the engine believes in ${JSON.stringify(delusion)}`);
    }
    faults.push(...world.faults());
    const { crashes, points, snapshotsUsed } = world;
    const counts = { crashes: crashes(), points: points(), snapshotsUsed: snapshotsUsed() };
    return { endings, model, sandbox, faults, ...counts };
  } finally {
    await world.end();
  }
}

const finalOf = (structured: unknown) => ({
  name: "final_answer",
  input: { content: "42", structured },
});

const replies: Readonly<Record<string, PlayedReply>> = {
  plain: { text: ["one ", "two ", "three"] },
  broken: { text: ["mended"] },
  think: { thinking: ["hm ", "so "], text: ["wéll ", "yes"] },
  tools: {
    thinking: ["both"],
    calls: [
      { name: "echo", input: { n: 1 } },
      { name: "echo", input: { n: 2 } },
    ],
  },
  "held to it": { text: ["so"], calls: [finalOf({ n: "many" })] },
  form: { text: ['{"n":', '"many"}'] },
  again: { calls: [{ name: "echo", input: { again: true } }] },
  risky: { text: ["let me"], calls: [{ name: "risky", input: { n: 3 } }] },
  marked: {
    text: [
      "Now: ",
      "\n\n[TO",
      'OL_CALL:echo:{"n"',
      ":1}",
      "]\n and ",
      '[TOOL_CALL:echo:{"n":2}]',
      "\n",
    ],
  },
  "marked risky": { text: ["let me", '[TOOL_CALL:risky:{"n":3}'] },
  "marked final": { text: ["here ", '[TOOL_CALL:final_answer:{"content":', '"42"}]'] },
  final: {
    text: ["here ", "it is"],
    calls: [finalOf({ n: 42 })],
  },
};

function replyTo(asked: string, gate: Promise<void>): PlayedReply {
  if (asked.startsWith('{"n"')) return { text: ["that was ", "all"] };
  if (asked.startsWith('{"again"')) return replies["again"] ?? {};
  if (asked.startsWith("Error TOOL_INVALID_INPUT")) return { calls: [finalOf({ n: 42 })] };
  if (asked.startsWith("Your answer was not taken")) return { text: ['{"n"', ":42}"] };
  if (asked.startsWith("Error TOOL_REJECTED")) return { text: ["as you wish"] };
  if (asked === "faulty") return { text: ["x ", "y ", "z"], before: async () => {} };
  return {
    text: ["a ", "b ", "c ", "d"],
    before: async (index, signal) => {
      if (index >= 2) await unlessAborted(gate, signal);
    },
  };
}

/** The first call of all breaks off in mid-answer. */
function failing(reply: PlayedReply, number: number): PlayedReply {
  if (reply.text?.[0] !== "x " || number > 1) return reply;
  return {
    ...reply,
    before: async (index) => {
      if (index === 2)
        throw new EngramError("model_unavailable", "the server went away", { transient: true });
    },
  };
}

const drifted = (partial: string, number: number): PlayedReply => ({
  text: [partial, ...["one", "two", "three"].map((word) => `${word}-${number} `)],
});
