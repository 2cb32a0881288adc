import type { Client } from "@connectrpc/connect";
import { EngramError } from "../errors.ts";
import { AgentService, type ToolCall } from "../gen/engram/api/v1/agent_pb.ts";
import { clientLimits } from "./cli-limits.ts";
import { withEngine } from "./client.ts";
import { lineColumns, print } from "./print.ts";
import { readClientSettings } from "./settings.ts";
import { fitted, oneLine } from "./tool-text.ts";
import { waitingCalls } from "./waiting-calls.ts";

const usage = "usage: engram confirm AGENT [CALL_ID] [--reject [REASON]]";

/** `engram confirm AGENT [CALL_ID] [--reject [REASON]]`: lets a waiting tool call run or rejects it, and says which it was. */
export async function confirm(args: readonly string[]): Promise<number> {
  const { words, settings, flag } = readClientSettings(args, process.env, { reject: "boolean" });
  const [agentId, ...more] = words;
  // Calls are named after their events; no reason looks like that.
  const named = /^call_\d+$/.test(more[0] ?? "") ? (more.shift() ?? null) : null;
  const approve = flag("reject") === null;
  // An approval needs no reason: what is written there may be a call's id gone wrong.
  if (!agentId || (approve && more.length > 0)) throw new EngramError("invalid_argument", usage);
  return withEngine(settings, AgentService, async (client) => {
    const { callId, text } = await callMeant(client, agentId, named);
    const value = { callId, approve, reason: more.join(" ") };
    await client.controlAgent({ agentId, command: { case: "confirm", value } });
    const line = oneLine(`${approve ? "approved" : "rejected"} ${callId}${text}`);
    await print(`${fitted(line, lineColumns())}\n`);
    return 0;
  });
}

async function callMeant(
  client: Client<typeof AgentService>,
  agentId: string,
  named: string | null,
): Promise<{ readonly callId: string; readonly text: string }> {
  const waiting = await waitingCalls(client, agentId);
  const candidates = named === null ? waiting : waiting.filter(({ callId }) => callId === named);
  const [call, other] = candidates;
  // One that does not wait any more is the engine's to judge: the same decision twice is none too many.
  if (call === undefined && named !== null) return { callId: named, text: "" };
  if (call === undefined)
    throw new EngramError("failed_precondition", `no tool call of agent ${agentId} waits`);
  if (other === undefined) return { callId: call.callId, text: `: ${callText(call)}` };
  const list = waiting
    .map((one) => `${one.callId}: ${fitted(callText(one), clientLimits.listedCallColumns)}`)
    .join("; ");
  throw new EngramError(
    "failed_precondition",
    `${waiting.length} tool calls wait, name one: ${list}`,
  );
}

const callText = ({ toolName, inputJson }: ToolCall): string => oneLine(`${toolName} ${inputJson}`);
