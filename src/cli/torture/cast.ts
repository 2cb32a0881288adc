import { toBinary } from "@bufbuild/protobuf";
import {
  AgentSchema,
  type CreateAgentResponse,
  type ServerMessage,
  ServerMessageSchema,
  type ToolInfo,
} from "../../gen/engram/api/v1/agent_pb.ts";
import { checkFork, type Said } from "./check.ts";
import type { AgentClient, TortureClient } from "./client.ts";
import { makeMessages, tale } from "./messages.ts";
import type { Random } from "./random.ts";
import {
  ask,
  cancel,
  examine,
  replay,
  type StoryCounts,
  type Teller,
  tellStory,
  turn,
} from "./stories.ts";
import { type Found, makeSubject, type Subject } from "./subject.ts";
import type { Counts } from "./witness.ts";

/** An agent that nothing more is done with: its log has to stay as it is. */
export type Kept = {
  readonly subject: Subject;
  readonly digest: string;
  readonly counts: Counts & { readonly toolResults: number };
};

export type Stage = {
  readonly random: Random;
  readonly tools: readonly ToolInfo[];
  readonly counts: StoryCounts;
  readonly onViolation: (found: Found) => void;
  /** Every agent there is. */
  readonly agentIds: Set<string>;
  readonly kept: Kept[];
  readonly paceMsMax: number;
  readonly calm: Promise<void>;
  readonly isCalm: () => boolean;
  /** Tells who is playing with which agent. */
  readonly plays: (name: string, subject: Subject) => void;
};

/** Plays story after story, with one agent after the other, until nothing is killed any more. */
export async function play(stage: Stage, client: TortureClient, name: string): Promise<void> {
  const random = stage.random.named(name);
  for (let count = 0; !stage.isCalm(); count++) {
    let teller = await makeAgent(stage, client, { client: name, name: `${name}.${count}`, random });
    await tellStories(stage, teller);
    while (!stage.isCalm() && random.chance(0.5)) teller = await cancelAndFork(stage, teller);
    await keep(stage, teller);
  }
}

type Player = Teller & { readonly role: Role };

type Role = {
  /** The client's. */
  readonly client: string;
  /** The agent's, as its messages are called. */
  readonly name: string;
  readonly random: Random;
};

async function makeAgent(stage: Stage, client: TortureClient, role: Role): Promise<Player> {
  const { random } = role;
  const manner = { anew: random.chance(0.25), thinks: random.chance(0.3) };
  // Words that are not written twice show that one was lost and written again; and no answer looks like another's beginning.
  const ways = `${manner.anew ? "anew:" : ""}${random.chance(0.3) ? "text:" : ""}`;
  const model = `scripted:varied:${ways}${random.between(1, stage.paceMsMax)}`;
  const confirmed = random.chance(0.25) ? stage.tools.slice(0, 1) : [];
  const startsAtOnce = random.chance(0.3);
  const wish = {
    requestId: `creation of ${role.name}`,
    goal: tale(random, 10, 60).content,
    model,
    config: {
      waitForInput: !startsAtOnce,
      enableThinking: manner.thinks,
      enableObservation: random.chance(0.5),
    },
    tools:
      confirmed.length === 0
        ? []
        : stage.tools.map(({ tool }) => ({
            name: tool?.name ?? "",
            requiresConfirmation: tool?.name === confirmed[0]?.tool?.name,
          })),
  };
  const agentId = await madeOnce(stage, client, random, (engine, options) =>
    engine.createAgent(wish, options),
  );
  const names = confirmed.map(({ tool }) => tool?.name ?? "");
  const teller = tellerOf(stage, client, role, { agentId, model, manner, confirmed: names });
  if (startsAtOnce) await turn(teller);
  return teller;
}

type Creation = (
  engine: AgentClient,
  options: { timeoutMs: number },
) => Promise<CreateAgentResponse>;

/** One creation, asked for as often as it takes, and now and then once more or twice at once. */
async function madeOnce(
  { agentIds, onViolation }: Stage,
  client: TortureClient,
  random: Random,
  creation: Creation,
): Promise<string> {
  const times = random.pick([1, 1, 2, 3] as const);
  const asked = Array.from({ length: times }, () => client.call(creation));
  const answers = [
    ...(await Promise.all(asked)),
    ...(random.chance(0.2) ? [await client.call(creation)] : []),
  ];
  const ids = new Set(answers.map(({ agentId }) => agentId));
  const [agentId = ""] = ids;
  if (ids.size > 1)
    onViolation({
      rule: "two agents for one request",
      detail: [...ids].join(" "),
      agentId,
      trace: [],
    });
  agentIds.add(agentId);
  return agentId;
}

function tellerOf(
  stage: Stage,
  client: TortureClient,
  role: Role,
  about: Pick<Subject, "agentId" | "model" | "manner" | "confirmed">,
): Player {
  const subject = makeSubject({ ...about, onViolation: stage.onViolation });
  stage.plays(role.client, subject);
  const { tools, counts, calm } = stage;
  const messages = makeMessages(subject, `${role.name}-`);
  return { client, random: role.random, role, subject, messages, tools, counts, calm };
}

async function tellStories(stage: Stage, teller: Player): Promise<void> {
  const count = teller.random.between(2, 9);
  for (let told = 0; told < count && !stage.isCalm(); told++) {
    await tellStory(teller);
    if (teller.random.chance(0.2)) await examine(teller);
  }
}

/** The agent is canceled, and its fork goes on. */
async function cancelAndFork(stage: Stage, teller: Player): Promise<Player> {
  const { client, random, subject } = teller;
  await cancel(teller);
  const parent = await keep(stage, teller);
  const atSequence = random.chance(0.5) ? 0 : random.between(1, parent.length);
  const wish = {
    agentId: subject.agentId,
    atSequence: BigInt(atSequence),
    requestId: `fork of ${subject.agentId}`,
  };
  const agentId = await madeOnce(stage, client, random, (engine, options) =>
    engine.forkAgent(wish, options),
  );
  const role = { ...teller.role, name: `${teller.role.name}f` };
  const fork = tellerOf(stage, client, role, { ...subject, agentId });
  const at = atSequence === 0 ? parent.length : atSequence;
  for (const { rule, detail } of checkFork(parent, await replay(fork), at))
    fork.subject.report(rule, detail);
  // What its parent was asked and had not answered is answered along with the first message.
  const first = { ...tale(random, 5, 40), expects: "" };
  await turn(fork, fork.messages.say(first));
  await tellStories(stage, fork);
  return fork;
}

async function keep({ kept }: Stage, teller: Player): Promise<readonly ServerMessage[]> {
  const said = await examine(teller);
  const { log } = said;
  const { subject } = teller;
  const toolResults = log.filter(({ payload }) => payload.case === "toolResult").length;
  const counts = { ...subject.witness.counts, toolResults };
  kept.push({ subject, digest: digestOf(said), counts });
  return log;
}

/** The log was checked when its agent was left: now it has to be the same still, whichever engine is asked. */
export async function checkKept(
  client: TortureClient,
  { subject, digest }: Kept,
  engine: string,
): Promise<void> {
  if (digestOf(await ask({ client, subject })) !== digest)
    subject.report(
      "changed log",
      `what ${engine} says of it is not what was said when its client left it`,
    );
}

function digestOf({ log, agent }: Said): string {
  const hasher = new Bun.CryptoHasher("sha256");
  hasher.update(toBinary(AgentSchema, agent));
  for (const message of log) hasher.update(toBinary(ServerMessageSchema, message));
  return hasher.digest("hex");
}
