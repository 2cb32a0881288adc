import { timestampMs } from "@bufbuild/protobuf/wkt";
import { allStatuses, isStatus } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { type Agent, AgentService } from "../gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../limits.ts";
import { withEngine } from "./client.ts";
import { lineColumns, print } from "./print.ts";
import { readClientSettings } from "./settings.ts";
import { fitted, oneLine } from "./tool-text.ts";

const statusColumns = Math.max(...allStatuses.map((status) => status.length));
const modelColumns = 16;
const ageColumns = 4;

/** `engram agents [STATUS]`: a line for each agent, or each of a status, the newest first. */
export async function agents(args: readonly string[]): Promise<number> {
  const { words, settings } = readClientSettings(args, process.env);
  const [status = "", more] = words;
  if (more !== undefined || (status !== "" && !isStatus(status)))
    throw new EngramError(
      "invalid_argument",
      `usage: engram agents [STATUS], one of ${allStatuses.join(", ")}`,
    );
  return withEngine(settings, AgentService, async (client) => {
    let count = 0;
    let pageToken = "";
    do {
      const query = { statusFilter: status, pageSize: requestLimits.pageSizeMax, pageToken };
      const page = await client.listAgents(query);
      const nowMs = Date.now();
      await print(page.agents.map((agent) => `${lineOf(agent, nowMs)}\n`).join(""));
      count += page.agents.length;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    if (count === 0)
      process.stderr.write(`engram: there are no agents${status === "" ? "" : ` ${status}`}\n`);
    return 0;
  });
}

function lineOf(agent: Agent, nowMs: number): string {
  const { agentId, status, model, createdAt, goal } = agent;
  const ageMs = createdAt === undefined ? 0 : Math.max(0, nowMs - timestampMs(createdAt));
  const line = [
    agentId,
    status.padEnd(statusColumns),
    fitted(oneLine(model), modelColumns).padEnd(modelColumns),
    ageText(ageMs).padStart(ageColumns),
    oneLine(goal),
  ].join("  ");
  return fitted(line, lineColumns());
}

/** A time in its largest unit: 5s, 12m, 3h, 40d. */
function ageText(ageMs: number): string {
  const seconds = Math.floor(ageMs / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 24 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / (24 * 3600))}d`;
}
