import type { Client } from "@connectrpc/connect";
import { EngramError } from "../../errors.ts";
import { AgentService } from "../../gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../../limits.ts";
import { chatInPipe } from "./pipe.ts";
import { chatOnTerminal } from "./terminal.ts";
import { withEngine } from "../client.ts";
import { readClientSettings } from "../settings.ts";
import { readStdin } from "../stdin.ts";

const usage = "usage: engram chat [AGENT], on a terminal or with a message on the standard input";

/**
 * `engram chat [AGENT]`: talks with an agent, without a name with the newest that takes input. Elsewhere than on a
 * terminal it says what the standard input holds, as one message. Resolves with the exit code.
 */
export async function chat(args: readonly string[]): Promise<number> {
  const { words, settings } = readClientSettings(args, process.env);
  const [named, more] = words;
  if (named === "" || more !== undefined) throw new EngramError("invalid_argument", usage);
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
  const said = isTerminal ? "" : await readStdin(requestLimits.contentBytesMax);
  if (!isTerminal && said.trim() === "")
    throw new EngramError("invalid_argument", `the standard input says nothing; ${usage}`);
  return withEngine(settings, AgentService, async (client) => {
    const agentId = named ?? (await newestAgent(client));
    return isTerminal
      ? chatOnTerminal(client, agentId)
      : chatInPipe(client, agentId, said.replace(/[\r\n]+$/, ""));
  });
}

/** The newest agent that takes input. Fails with failed_precondition where there is none. */
async function newestAgent(client: Client<typeof AgentService>): Promise<string> {
  let pageToken = "";
  do {
    const page = await client.listAgents({ pageToken });
    const agent = page.agents.find(({ status }) => status !== "failed" && status !== "canceled");
    if (agent !== undefined) return agent.agentId;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  throw new EngramError(
    "failed_precondition",
    "there is no agent to talk with; make one: engram create GOAL --model MODEL --wait",
  );
}
