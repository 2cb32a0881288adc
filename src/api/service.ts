import { create } from "@bufbuild/protobuf";
import { setImmediate as nextTurnOfTheLoop } from "node:timers/promises";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import type { Command } from "../agent/accept.ts";
import type { AgentRow } from "../agent/row.ts";
import { isStatus, type Status, statusOf } from "../agent/state.ts";
import type { Engine } from "../engine/engine.ts";
import { EngramError } from "../errors.ts";
import { AgentService as DuraAgentService } from "../gen/dura/api/v1/agent_pb.ts";
import {
  type Agent,
  AgentSchema,
  AgentService,
  type ControlAgentRequest,
  CreateAgentResponseSchema,
  type CreateAgentResponse,
  type ListAgentsRequest,
  type ListAgentsResponse,
  ListAgentsResponseSchema,
  ListToolsResponseSchema,
} from "../gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../limits.ts";
import { answered, mustName, streamed } from "./answers.ts";
import { chat, type StreamParts } from "./chat.ts";
import { commandOf, requestKeyOf } from "./commands.ts";
import { replay } from "./replay.ts";
import { sequenceOf, specOf } from "./spec.ts";
import { sendMessage } from "./turn.ts";
import { agentOf, sizeOf, toolInfoOf } from "./wire.ts";

/** Adds the agent service, under its own name and the one that the original engine's clients call. */
export const agentRoutes =
  (parts: StreamParts) =>
  (router: ConnectRouter): void => {
    const implementation = implement(parts);
    router.service(AgentService, implementation);
    router.service(DuraAgentService, implementation);
  };

/** Each RPC in terms of the engine; expected failures leave as Connect errors. */
function implement(parts: StreamParts): ServiceImpl<typeof AgentService> {
  const { engine } = parts;
  const control = async (agentId: string, command: Command | null): Promise<{ status: string }> => {
    mustName(agentId);
    if (command === null) throw new EngramError("invalid_argument", "command is missing");
    const { state } = await engine.command(agentId, command);
    return { status: statusOf(state) };
  };
  return {
    createAgent: (request) =>
      answered(async () => {
        const spec = specOf(request);
        return created(await engine.create(spec, requestKeyOf(request.requestId, spec)));
      }),
    getAgent: ({ agentId }) =>
      answered(async () => {
        mustName(agentId);
        return agentOf(await engine.get(agentId));
      }),
    listAgents: (request) => answered(() => listAgents(parts, request)),
    deleteAgent: ({ agentId, force }) =>
      answered(async () => {
        mustName(agentId);
        await engine.remove(agentId, force);
        return create(EmptySchema);
      }),
    controlAgent: ({ agentId, command }: ControlAgentRequest) =>
      answered(() => control(agentId, commandOf(command, ""))),
    chat: (requests, context) => streamed(chat(parts, requests, context)),
    replay: (request, context) =>
      streamed(replay(parts, request, context), () => mustName(request.agentId)),
    setAgentStatus: ({ agentId, status }) =>
      answered(async () => {
        mustName(agentId);
        return control(agentId, await commandNamed(parts, agentId, status));
      }),
    sendMessage: (request, context) => answered(() => sendMessage(parts, request, context)),
    forkAgent: ({ agentId, atSequence, metadata, requestId }) =>
      answered(async () => {
        mustName(agentId);
        const at = sequenceOf("at_sequence", atSequence);
        const request = requestKeyOf(requestId, { agentId, at, metadata });
        return created(await engine.fork(agentId, at, { metadata, request }));
      }),
    listTools: () =>
      answered(async () =>
        create(ListToolsResponseSchema, { tools: (await engine.tools()).map(toolInfoOf) }),
      ),
  };
}

const created = (row: AgentRow): CreateAgentResponse =>
  create(CreateAgentResponseSchema, { agentId: row.agentId, agent: agentOf(row) });

/** SetAgentStatus names a status; what leads to it depends on where the agent is. */
async function commandNamed(
  { engine }: StreamParts,
  agentId: string,
  status: string,
): Promise<Command> {
  switch (status) {
    case "paused":
      return { type: "Pause", reason: "", key: null };
    case "canceled":
      return { type: "Cancel", key: null };
    case "waiting_for_step": {
      const { status: now } = await engine.get(agentId);
      return { type: now === "failed" ? "Retry" : "Resume", key: null };
    }
    default:
      throw new EngramError(
        "invalid_argument",
        `status is ${JSON.stringify(status)}; it can be set to paused, waiting_for_step or canceled`,
      );
  }
}

async function listAgents(
  { engine }: StreamParts,
  { statusFilter, pageSize, pageToken }: ListAgentsRequest,
): Promise<ListAgentsResponse> {
  if (pageSize < 0) throw new EngramError("invalid_argument", "page_size is negative");
  const limit = Math.min(
    pageSize === 0 ? requestLimits.pageSizeDefault : pageSize,
    requestLimits.pageSizeMax,
  );
  const page = await pageOf(engine, {
    status: statusNamed(statusFilter),
    limit,
    beforeAgentId: agentIdOf(pageToken),
  });
  return create(ListAgentsResponseSchema, page);
}

type Page = { readonly agents: Agent[]; readonly nextPageToken: string };

/** As many agents as the query asks for and an answer can hold, at least one. */
async function pageOf(engine: Engine, query: Parameters<Engine["list"]>[0]): Promise<Page> {
  const agents: Agent[] = [];
  let bytes = 0;
  for (let { beforeAgentId } = query; ; await nextTurnOfTheLoop()) {
    // One more than asked for tells whether there is a next page.
    const limit = Math.min(query.limit - agents.length + 1, requestLimits.listedAtOnce);
    const rows = await engine.list({ ...query, limit, beforeAgentId });
    for (const row of rows) {
      const agent = agentOf(row);
      bytes += sizeOf(AgentSchema, agent);
      const isFull = agents.length === query.limit || bytes > requestLimits.answerBytesMax;
      if (isFull && agents.length > 0) return { agents, nextPageToken: tokenOf(beforeAgentId) };
      agents.push(agent);
      beforeAgentId = row.agentId;
    }
    if (rows.length < limit) return { agents, nextPageToken: "" };
  }
}

const tokenOf = (agentId: string | null): string =>
  Buffer.from(agentId ?? "").toString("base64url");

function statusNamed(filter: string): Status | null {
  if (filter === "") return null;
  if (isStatus(filter)) return filter;
  throw new EngramError(
    "invalid_argument",
    `status_filter is ${JSON.stringify(filter)}, which is no status of an agent`,
  );
}

function agentIdOf(pageToken: string): string | null {
  if (pageToken === "") return null;
  const agentId = Buffer.from(pageToken, "base64url").toString();
  if (/^[0-9a-f-]{36}$/.test(agentId)) return agentId;
  throw new EngramError(
    "invalid_argument",
    "page_token is not one that ListAgents gave; leave it out for the first page",
  );
}
