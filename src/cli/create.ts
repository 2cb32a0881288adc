import { create, fromJsonString } from "@bufbuild/protobuf";
import { EngramError, messageOf } from "../errors.ts";
import {
  AgentService,
  type CreateAgentRequest,
  CreateAgentRequestSchema,
} from "../gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../limits.ts";
import { untilAnswered, withEngine } from "./client.ts";
import { print } from "./print.ts";
import { type ClientLine, readClientSettings } from "./settings.ts";
import { readStdin } from "./stdin.ts";
import { oneLine } from "./tool-text.ts";

const usage =
  "usage: engram create GOAL --model MODEL [--system PROMPT] [--tools NAME,NAME | --no-tools] [--wait], " +
  "or engram create - < CreateAgentRequest.json";

const flags = {
  model: "string",
  system: "string",
  tools: "string",
  "no-tools": "boolean",
  wait: "boolean",
} as const;

/**
 * `engram create GOAL` and `engram create -`: makes an agent and prints its id. The request has an id, so that it makes
 * one agent however often the connection breaks.
 */
export async function createAgent(args: readonly string[]): Promise<number> {
  const line = readClientSettings(args, process.env, flags);
  const [goal, more] = line.words;
  if (goal === undefined || more !== undefined) throw new EngramError("invalid_argument", usage);
  const request = goal === "-" ? await requestFromStdin(line) : requestOf(goal, line);
  request.requestId ||= crypto.randomUUID();
  return withEngine(line.settings, AgentService, async (client) => {
    const { agentId } = await untilAnswered(() => client.createAgent(request));
    await print(`${agentId}\n`);
    return 0;
  });
}

function requestOf(goal: string, { flag }: ClientLine): CreateAgentRequest {
  const model = flag("model");
  const tools = flag("tools");
  const names = (tools ?? "").split(",").map((name) => name.trim());
  const noTools = flag("no-tools") !== null;
  const isWrong = tools !== null && (noTools || names.includes(""));
  if (!model || isWrong) throw new EngramError("invalid_argument", usage);
  return create(CreateAgentRequestSchema, {
    goal,
    model,
    systemPrompt: flag("system") ?? "",
    tools: tools === null ? [] : names.map((name) => ({ name })),
    config: { noTools, waitForInput: flag("wait") !== null },
  });
}

/** All of it is in the JSON: flags beside it would have to be merged with what stands there. */
async function requestFromStdin({ flag }: ClientLine): Promise<CreateAgentRequest> {
  if (Object.keys(flags).some((name) => flag(name) !== null))
    throw new EngramError("invalid_argument", `with - the JSON says it all; ${usage}`);
  const json = await readStdin(requestLimits.messageBytesMax);
  try {
    return fromJsonString(CreateAgentRequestSchema, json);
  } catch (cause) {
    const complaint = oneLine(messageOf(cause));
    throw new EngramError(
      "invalid_argument",
      `the standard input is no CreateAgentRequest in JSON: ${complaint}`,
      { cause },
    );
  }
}
