import { createAgent, is, openChat, restingAgent, talk, valuesOf } from "./conversation.ts";
import type { EngineProcess } from "./engine-process.ts";
import { wordsIn } from "./numbered-words.ts";
import { putTools } from "./tool-modules.ts";

/** Agents of every kind, each as an engine has left it. */
export type StoredAgents = Readonly<
  Record<"talker" | "caller" | "fork" | "paused" | "held" | "canceled" | "deleted", string>
>;

/** So many events make an engine keep a snapshot. */
const talks = 70;

/** Lets an engine make them; it is killed in the middle of an answer. */
export async function makeAgents(engine: EngineProcess): Promise<StoredAgents> {
  const { client } = engine;
  await putTools(engine.folder, "quick");
  const talker = await createAgent(client, { requestId: "the talker" });
  for (let n = 0; n < talks; n++)
    await client.sendMessage({
      agentId: talker,
      userInput: { content: `say number ${n}` },
      messageId: `m${n}`,
    });
  const { agentId: fork } = await client.forkAgent({ agentId: talker, requestId: "the fork" });
  await talk(client, fork, "say hello");
  const caller = await createAgent(client, {
    tools: [{ name: "quick", requiresConfirmation: true }],
  });
  const [call] = valuesOf(await talk(client, caller, "call quick with {}"), "toolCall");
  const confirm = { callId: call?.callId ?? "", approve: true };
  await client.controlAgent({ agentId: caller, command: { case: "confirm", value: confirm } });
  await restingAgent(client, caller);
  const [canceled, deleted] = [await createAgent(client), await createAgent(client)];
  await client.setAgentStatus({ agentId: canceled, status: "canceled" });
  await client.deleteAgent({ agentId: deleted });
  const paused = await inMidAnswer(engine);
  await client.setAgentStatus({ agentId: paused, status: "paused" });
  const held = await inMidAnswer(engine);
  await engine.kill();
  return { talker, caller, fork, paused, held, canceled, deleted };
}

async function inMidAnswer({ client }: EngineProcess): Promise<string> {
  const agentId = await createAgent(client, { model: "scripted:5" });
  await using chat = openChat(client, agentId);
  chat.say("write 4000 words");
  await chat.until(is("textDelta"));
  await chat.until(() => wordsIn(chat.listener.partial) > 20);
  return agentId;
}
