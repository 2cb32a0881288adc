import { Code, ConnectError } from "@connectrpc/connect";
import type { Agent, ServerMessage, ToolInfo } from "../../gen/engram/api/v1/agent_pb.ts";
import { withoutMarks } from "../../llm/scripted/scripted.ts";
import { checkAgent, type Said } from "./check.ts";
import type { TortureClient } from "./client.ts";
import { readLog } from "./log.ts";
import { inMidAnswer, type Messages, smallTalk, tale, toolRequest } from "./messages.ts";
import type { Random } from "./random.ts";
import type { Outgoing, Subject } from "./subject.ts";
import { tortureLimits } from "./torture-limits.ts";

export type StoryCounts = { turns: number; revived: number };

/** Who plays a story with which agent. */
export type Teller = {
  readonly client: TortureClient;
  readonly random: Random;
  readonly subject: Subject;
  readonly messages: Messages;
  readonly tools: readonly ToolInfo[];
  readonly counts: StoryCounts;
  /** Resolves when nothing is killed any more. */
  readonly calm: Promise<void>;
};

type Story = (teller: Teller) => Promise<void>;

/** Each leaves the agent at rest and open to input. */
const stories: readonly (readonly [weight: number, story: Story])[] = [
  [3, (teller) => turn(teller, say(teller, smallTalk(teller.random)))],
  [4, (teller) => turn(teller, say(teller, tale(teller.random, 30, 160)))],
  [4, callTools],
  [3, pauseInMidAnswer],
  [2, pauseFromOutside],
  [2, speakWhileItWorks],
  [2, edit],
  [1, speakTwiceAtOnce],
  [1, attach],
  [1, rememberAndRecall],
  [1, sendMessage],
  [1, finish],
];

/** Plays one of the stories. */
export async function tellStory(teller: Teller): Promise<void> {
  const total = stories.reduce((sum, [weight]) => sum + weight, 0);
  let at = teller.random.next() * total;
  for (const [weight, story] of stories) {
    at -= weight;
    if (at < 0) return story(teller);
  }
}

const say = ({ messages }: Teller, ...rest: Parameters<Messages["say"]>): Outgoing =>
  messages.say(...rest);

/** Has messages recorded and hears the agent until it rests, open to input. */
export async function turn(teller: Teller, ...outgoing: readonly Outgoing[]): Promise<void> {
  await converse(teller, outgoing);
  await settle(teller);
  teller.counts.turns++;
}

/** A failed agent takes no message; where the kills made it fail, it is set going again first. */
async function converse(teller: Teller, outgoing: readonly Outgoing[]): Promise<void> {
  for (;;)
    try {
      return await teller.client.converse(teller.subject, outgoing);
    } catch (error) {
      if (!isRefusal(error) || !(await revive(teller, await getAgent(teller)))) throw error;
    }
}

const isRefusal = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.FailedPrecondition;

const getAgent = ({
  client,
  subject: { agentId },
}: Pick<Teller, "client" | "subject">): Promise<Agent> =>
  client.call((engine, options) => engine.getAgent({ agentId }, options));

/** A step whose engine was killed three times in a row is taken for the cause. True where that was it. */
async function revive({ client, subject, counts }: Teller, agent: Agent): Promise<boolean> {
  if (agent.status !== "failed" || !agent.statusReason.includes("ended its engine three times"))
    return false;
  counts.revived++;
  const { agentId } = subject;
  try {
    const command = { case: "retry", value: {} } as const;
    await client.call((engine, options) => engine.controlAgent({ agentId, command }, options));
  } catch (error) {
    // A retry that was not answered was recorded all the same.
    if (!isRefusal(error)) throw error;
  }
  return true;
}

/** Does what the agent waits for until it is open to input. */
async function settle(teller: Teller): Promise<void> {
  const { subject, random, messages } = teller;
  for (;;) {
    const agent = await getAgent(teller);
    switch (agent.status) {
      case "waiting_for_input":
      case "completed":
        return;
      case "waiting_for_confirmation": {
        const { awaiting } = readLog(await replay(teller));
        await converse(
          teller,
          awaiting.map((callId) => messages.confirm(callId, random.chance(0.7))),
        );
        break;
      }
      case "failed":
        if (!(await revive(teller, agent)))
          return subject.report("turn failed", agent.statusReason);
        await converse(teller, []);
        break;
      default:
        subject.report("not at rest", `its stream ended well, and it is ${agent.status}`);
        await converse(teller, []);
    }
  }
}

/** The whole log. */
export function replay({
  client,
  subject: { agentId },
}: Pick<Teller, "client" | "subject">): Promise<readonly ServerMessage[]> {
  const wish = { agentId, fromSequence: 1n, includeHistory: true };
  return client.call((engine, options) => Array.fromAsync(engine.replay(wish, options)));
}

/** What an engine says of an agent. */
export async function ask(teller: Pick<Teller, "client" | "subject">): Promise<Said> {
  const agent = await getAgent(teller);
  return { agent, log: await replay(teller) };
}

/** Compares what was seen of an agent at rest with its log. Gives what the engine said. */
export async function examine(teller: Teller): Promise<Said> {
  const { subject } = teller;
  const { log, agent } = await ask(teller);
  const saw = { witness: subject.witness, sent: subject.sent };
  for (const { rule, detail } of checkAgent(saw, { log, agent })) subject.report(rule, detail);
  return { log, agent };
}

async function callTools(teller: Teller): Promise<void> {
  const [first, ...rest] = teller.tools;
  if (first === undefined) return;
  const request = toolRequest(teller.random, [first, ...rest], teller.subject.confirmed);
  await turn(teller, say(teller, request));
}

async function pauseInMidAnswer(teller: Teller): Promise<void> {
  const { subject, random, messages } = teller;
  const isDue = inMidAnswer(subject, random.between(1, 500));
  const long = say(teller, tale(random, 60, 160));
  await converse(teller, [long, messages.pause({ isDue })]);
  await mustStayPaused(teller);
  const kept = random.chance(0.3) ? [say(teller, smallTalk(random))] : [];
  if (kept.length > 0) {
    await converse(teller, kept);
    await mustStayPaused(teller);
  }
  await turn(teller, messages.resume());
}

async function mustStayPaused(teller: Teller): Promise<void> {
  const { client, subject, random, calm } = teller;
  const before = await getAgent(teller);
  if (random.chance(0.6)) {
    const { over } = await client.host.now();
    await Promise.race([over, calm, Bun.sleep(tortureLimits.pausedMs)]);
  }
  const { status, headSequence } = await getAgent(teller);
  if (before.status !== "paused" || status !== "paused" || headSequence !== before.headSequence)
    subject.report(
      "did not stay paused",
      `it was ${before.status} at #${before.headSequence}, then ${status} at #${headSequence}`,
    );
}

/** The pause comes by another call than the chat, at any moment. */
async function pauseFromOutside(teller: Teller): Promise<void> {
  const { client, subject, random, messages } = teller;
  const { agentId } = subject;
  const long = converse(teller, [say(teller, tale(random, 40, 120))]);
  const reason = messages.nextId();
  const pause = async (): Promise<boolean> => {
    await Bun.sleep(random.between(0, 500));
    const sent = { word: "paused", message: reason, hasId: false, ackedAt: 0, expects: "" };
    subject.sent.push(sent);
    const command = { case: "pause", value: { reason } } as const;
    try {
      await client.call((engine, options) => engine.controlAgent({ agentId, command }, options));
      return true;
    } catch (error) {
      if (isRefusal(error)) return false; // The kills had made it fail.
      throw error;
    }
  };
  const [isPaused] = await Promise.all([pause(), long]);
  if (isPaused) {
    await mustStayPaused(teller);
    if (random.chance(0.5)) return turn(teller, messages.resume());
    subject.sent.push({ word: "resumed", message: "", hasId: false, ackedAt: 0, expects: "" });
    await client.call((engine, options) =>
      engine.setAgentStatus({ agentId, status: "waiting_for_step" }, options),
    );
  }
  await turn(teller);
}

async function speakWhileItWorks(teller: Teller): Promise<void> {
  const { subject, random } = teller;
  const isDue = inMidAnswer(subject, random.between(1, 400));
  const first = say(teller, tale(random, 40, 120));
  await turn(teller, first, say(teller, smallTalk(random), { isDue }));
}

async function speakTwiceAtOnce(teller: Teller): Promise<void> {
  const { random } = teller;
  const second = say(teller, smallTalk(random), { isHasty: true });
  await turn(teller, say(teller, tale(random, 5, 30)), second);
}

async function edit(teller: Teller): Promise<void> {
  const { subject, random, messages } = teller;
  const mood = `mood-${random.between(1, 1_000)}`;
  if (random.chance(0.5)) await turn(teller, messages.edit(mood));
  else {
    const isDue = inMidAnswer(subject, random.between(1, 300));
    await turn(teller, say(teller, tale(random, 30, 80)), messages.edit(mood, { isDue }));
  }
  const { metadata } = await getAgent(teller);
  if (metadata["mood"] !== mood)
    subject.report("lost edit", `its mood is ${metadata["mood"]}, and was edited to ${mood}`);
}

async function attach(teller: Teller): Promise<void> {
  const { random } = teller;
  const data = Uint8Array.from({ length: random.between(1, 2_000) }, () => random.between(97, 122));
  const text = { name: "notes.txt", mimeType: "text/plain", data };
  const image = { name: "dot.png", mimeType: "image/png", data };
  const request = tale(random, 5, 20);
  await turn(
    teller,
    say(
      teller,
      { ...request, expects: `I see 1 image. ${request.expects}` },
      { attachments: [text, image] },
    ),
  );
}

async function rememberAndRecall(teller: Teller): Promise<void> {
  const fact = `The code is ${teller.random.between(1, 100_000)}.`;
  await turn(teller, say(teller, { content: fact, expects: fact }));
  await turn(teller, say(teller, { content: "What is the code?", expects: fact }));
}

async function sendMessage(teller: Teller): Promise<void> {
  const { client, subject, random, counts } = teller;
  const { agentId } = subject;
  const { messageId, payload, sent } = say(teller, tale(random, 5, 60));
  if (payload.case !== "userInput") return;
  const userInput = payload.value;
  const { text, agent, error } = await client.call((engine, options) =>
    engine.sendMessage({ agentId, messageId, userInput }, options),
  );
  sent.ackedAt = 0;
  if (
    error === undefined &&
    agent?.status === "waiting_for_input" &&
    !withoutMarks(text).includes(sent.expects)
  )
    subject.report("wrong answer", `SendMessage of ${messageId} gave ${JSON.stringify(text)}`);
  counts.turns++;
  await converse(teller, []);
  await settle(teller);
}

async function finish(teller: Teller): Promise<void> {
  const answer = `done-${teller.random.between(1, 1_000)}`;
  await turn(teller, say(teller, { content: `Finish with: ${answer}`, expects: answer }));
}

/** Cancels the agent in mid-answer: from then on it takes nothing and does nothing. */
export async function cancel(teller: Teller): Promise<void> {
  const { client, subject, random, messages } = teller;
  const { agentId } = subject;
  const isDue = inMidAnswer(subject, random.between(1, 400));
  await converse(teller, [say(teller, tale(random, 60, 120)), messages.cancel({ isDue })]);
  const { status } = await getAgent(teller);
  if (status !== "canceled") subject.report("did not cancel", `it is ${status}`);
  const userInput = { content: "Go on." };
  try {
    const messageId = messages.nextId();
    await client.call((engine, options) =>
      engine.sendMessage({ agentId, messageId, userInput }, options),
    );
    subject.report("ran while stopped", "a canceled agent took a message");
  } catch (error) {
    if (!isRefusal(error)) throw error;
  }
}
