import type { Client } from "@connectrpc/connect";
import type { Agent, AgentService, ToolCall } from "../../gen/engram/api/v1/agent_pb.ts";
import { openInput } from "./input.ts";
import { makeScreen } from "./screen.ts";
import { type ChatStream, type Heard, makeChatStream } from "./stream.ts";
import { clientLimits, cliLimits } from "../cli-limits.ts";
import { fitted } from "../tool-text.ts";

/** A conversation on the terminal, until the user leaves it or the agent takes no more input. Resolves with the exit code. */
export async function chatOnTerminal(
  client: Client<typeof AgentService>,
  agentId: string,
): Promise<number> {
  const agent = await client.getAgent({ agentId });
  const recalled = agent.headSequence - BigInt(clientLimits.recalledEvents);
  const stream = makeChatStream(client, agentId, recalled > 1n ? recalled : 1n);
  const talk = makeTalk(agent, stream);
  const listen = async (): Promise<number> => {
    for await (const it of stream.hear()) {
      const exitCode = talk.heard(it);
      if (exitCode !== null) return exitCode;
      await talk.drained();
    }
    return 0;
  };
  try {
    return await Promise.race([listen(), talk.left]);
  } finally {
    talk.close();
  }
}

/** What is between a stream and the user. */
function makeTalk({ agentId, model, goal }: Agent, stream: ChatStream) {
  const screen = makeScreen();
  const left = Promise.withResolvers<number>();
  let isResting = false;
  /** What the user is asked about; null: nothing. */
  let asked: ToolCall | null = null;

  const said = (text: string, wasShown: boolean): void => {
    if (!wasShown && text !== "") screen.echo(text);
    if (asked === null) {
      if (text.trim() === "") return isResting ? prompt() : undefined;
      isResting = false;
      return stream.send({ case: "userInput", value: { content: text } });
    }
    const approve = decisionIn(text);
    if (approve === null) return prompt();
    stream.send({ case: "confirm", value: { callId: asked.callId, approve } });
    asked = null;
    isResting = false;
  };
  const leave = (): void => {
    input.hide();
    if (!stream.isAllRecorded()) screen.note("what was said last may not have reached the engine");
    else if (!isResting) screen.note(`the agent goes on; engram chat ${agentId} comes back to it`);
    left.resolve(0);
  };
  const input = openInput({ line: said, leave });
  const prompt = (): void => input.show(asked === null ? "> " : "Let it run? [y/n] ");
  /** Beside a line that the user may be writing. */
  const note = (text: string): void => {
    const wasShown = input.isShown;
    input.hide();
    screen.note(text);
    if (wasShown) prompt();
  };
  const outage = makeOutage(note);
  /** Gives the exit code where the agent takes no more input. */
  const rests = (status: string, [call]: readonly ToolCall[]): number | null => {
    isResting = true;
    asked = call ?? null;
    const advice = restingNote(status, agentId);
    if (advice !== null) note(advice);
    if (status === "failed" || status === "canceled") return 1;
    if (asked !== null) screen.ask(asked);
    prompt();
    return null;
  };
  /** The same. */
  const heard = (it: Heard): number | null => {
    if (it.kind === "rests") return rests(it.agent.status, it.waiting);
    if (it.kind === "attached") screen.attach();
    else if (it.kind === "refused") note(`refused: ${it.reason}`);
    else if (it.kind === "message") {
      isResting = false;
      asked = null;
      input.hide();
      screen.show(it.message);
    } else outage.heard(it);
    return null;
  };

  screen.note(`agent ${agentId}, ${model}`);
  screen.note(fitted(`goal: ${goal}`, cliLimits.lineCharsMax));
  return { heard, left: left.promise, drained: screen.drained, close: input.close };
}

/** Tells of an engine that stays away, once. */
function makeOutage(note: (text: string) => void) {
  let isTold = false;
  return {
    heard: (it: Heard): void => {
      if (it.kind === "away" && !isTold && it.awayMs >= clientLimits.untoldAwayMs) {
        isTold = true;
        note(`the engine is away, and is tried again: ${it.reason}`);
      } else if (it.kind === "back" && isTold) {
        isTold = false;
        note("the engine is back");
      }
    },
  };
}

/** null: neither yes nor no. */
function decisionIn(text: string): boolean | null {
  const word = text.trim().toLowerCase();
  if (word === "y" || word === "yes") return true;
  return word === "n" || word === "no" ? false : null;
}

/** What a user can do about a status; null: talk. */
function restingNote(status: string, agentId: string): string | null {
  switch (status) {
    case "paused":
      return `the agent is paused; engram resume ${agentId} lets it go on`;
    case "failed":
      return `the agent has failed; engram retry ${agentId} lets it try again`;
    case "canceled":
      return "the agent was canceled and takes no more input";
    default:
      return null;
  }
}
