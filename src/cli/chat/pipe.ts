import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { AgentService, SendMessageResponse } from "../../gen/engram/api/v1/agent_pb.ts";
import { untilAnswered } from "../client.ts";
import { print } from "../print.ts";
import { oneLine, plainText } from "../tool-text.ts";

/** Says one message, once however often the connection breaks, and prints what the agent answers. 1: its turn failed. */
export async function chatInPipe(
  client: Client<typeof AgentService>,
  agentId: string,
  content: string,
): Promise<number> {
  const answer = await answerTo(client, agentId, content);
  const text = textOf(answer);
  // Into a pipe or a file goes what the model wrote, to the byte; a terminal would obey it.
  if (text !== "") await print(`${process.stdout.isTTY ? plainText(text) : text}\n`);
  const { agent, error } = answer;
  const status = agent?.status ?? "";
  if (error !== undefined) complain(`the agent failed: ${error.code}: ${error.message}`);
  else if (status === "waiting_for_confirmation")
    complain(`a tool call waits; let it run by: engram confirm ${agentId}`);
  else if (status === "paused") complain(`the agent is paused: engram resume ${agentId}`);
  else if (status === "canceled") complain("the agent was canceled");
  return error !== undefined || status === "failed" || status === "canceled" ? 1 : 0;
}

async function answerTo(
  client: Client<typeof AgentService>,
  agentId: string,
  content: string,
): Promise<SendMessageResponse> {
  const request = { agentId, messageId: crypto.randomUUID(), userInput: { content } };
  for (;;) {
    try {
      return await untilAnswered(() => client.sendMessage(request));
    } catch (error) {
      // A turn may take long: the same message again waits on for it.
      if (!(error instanceof ConnectError) || error.code !== Code.DeadlineExceeded) throw error;
    }
  }
}

function textOf({ text, finalAnswer }: SendMessageResponse): string {
  if (finalAnswer === undefined) return text;
  const { content, structured } = finalAnswer;
  return content === "" && structured !== undefined ? JSON.stringify(structured) : content;
}

const complain = (problem: string): void =>
  void process.stderr.write(`engram: ${oneLine(problem)}\n`);
