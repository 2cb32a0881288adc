import { EngramError } from "../errors.ts";
import { AgentService } from "../gen/engram/api/v1/agent_pb.ts";
import { withEngine } from "./client.ts";
import { print } from "./print.ts";
import { readClientSettings } from "./settings.ts";
import { oneLine } from "./tool-text.ts";

const commands = {
  pause: { case: "pause", value: {} },
  resume: { case: "resume", value: {} },
  cancel: { case: "cancel", value: {} },
  retry: { case: "retry", value: {} },
} as const;

/** `engram NAME AGENT`: does it and prints the status that came of it. */
const control =
  (name: keyof typeof commands) =>
  async (args: readonly string[]): Promise<number> => {
    const { words, settings } = readClientSettings(args, process.env);
    const [agentId, more] = words;
    if (!agentId || more !== undefined)
      throw new EngramError("invalid_argument", `usage: engram ${name} AGENT`);
    return withEngine(settings, AgentService, async (client) => {
      const { status } = await client.controlAgent({ agentId, command: commands[name] });
      await print(`${oneLine(status)}\n`);
      return 0;
    });
  };

export const pause = control("pause");
export const resume = control("resume");
export const cancel = control("cancel");
export const retry = control("retry");

/** `engram delete AGENT [--force]`: one that works is deleted by force only. */
export async function deleteAgent(args: readonly string[]): Promise<number> {
  const { words, settings, flag } = readClientSettings(args, process.env, { force: "boolean" });
  const [agentId, more] = words;
  if (!agentId || more !== undefined)
    throw new EngramError("invalid_argument", "usage: engram delete AGENT [--force]");
  return withEngine(settings, AgentService, async (client) => {
    await client.deleteAgent({ agentId, force: flag("force") !== null });
    await print(`deleted agent ${oneLine(agentId)}\n`);
    return 0;
  });
}
